"""The doctor's findings on the screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby

from rich.console import Group
from rich.text import Text

from planner.doctor.records import Finding
from planner.report.lines import heading, wrapped

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def doctor_view(findings: Iterable[Finding]) -> Group:
    """Findings by file, worst first, each with its fix; the count of each severity last."""
    found = list(findings)
    lines: list[Text] = []
    for file, own in groupby(found, key=lambda finding: finding.place.partition(": ")[0]):
        lines += heading(file)
        for finding in own:
            lines += _lines(finding)
    return Group(*lines, Text(_summary(found)))


def _lines(finding: Finding) -> list[Text]:
    key = finding.place.partition(": ")[2]
    title = Text(f"  {finding.severity} ", style=_STYLES[finding.severity])
    title.append(finding.rule_id, style="bold")
    title.append(f"  {key}" if key else "")
    lines = [title, *wrapped(finding.text, first="    ", rest="    ")]
    return [*lines, *(wrapped(finding.fix, first="    -> ", rest="       ") if finding.fix else [])]


def _summary(found: list[Finding]) -> str:
    counts = Counter[str](
        finding.severity for finding in sorted(found, key=lambda one: list(_STYLES).index(one.severity))
    )
    if not found:
        return "Nothing found."
    words = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items()]
    return "Found: " + ", ".join(words)
