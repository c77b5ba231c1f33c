"""Whole processes timed: wall and CPU seconds of one run."""

from __future__ import annotations

import os
import subprocess
import time


def run(command: list[str], **variables: str) -> tuple[float, float]:
    """Wall and CPU seconds of one run, bytecode cached."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment | variables
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} exited {process.returncode}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime
