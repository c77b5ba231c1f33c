"""Each format's quoting loses nothing, for our own reader and for the format's own."""

from __future__ import annotations

import plistlib
import shlex
import subprocess

import pytest
import yaml
from hypothesis import given, settings, strategies as st

from planner.errors import RenderError
from planner.rendering import parsing, quoting
from planner.rendering.placing import Word
from planner.rendering.words import shell, unit_word

# Names that break naive templates (each has broken some format).
NASTY = (
    "a b", "$X", "${X}", "$$", "%n", "%%", '"q"', "it's", "no", "on", "~", "null", "1e3", "22:22", "0x1F", "{{x}}",
    "{% x %}", "#c", " #c", "a: b", "- a", "&a", "*a", "!a", "`id`", "$(id)", "a\\", "\\n", "a\nb", "a\tb", "", " ",
    ";", "|", ">", "@x", ":x", "é", "日本", "😀", "\u2028", "\x85", "\ufeff", "\x1b[0m", "\x7f", "a,b", "--", "-", "'",
    '"', "\\", "%", "$", "]]>", "<a>", "&amp;",
)  # fmt: skip
TEXT = st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))))


@given(TEXT)
def test_a_yaml_scalar_is_the_same_string_to_a_yaml_1_1_reader(text: str) -> None:
    assert yaml.safe_load(f"key: {quoting.yaml_scalar(text)}\n") == {"key": text}


@given(TEXT)
def test_a_compose_scalar_survives_yaml_and_interpolation(text: str) -> None:
    assert parsing.compose_value(yaml.safe_load(quoting.compose_scalar(text)), {}) == text


@given(TEXT)
def test_a_kubernetes_scalar_survives_yaml_and_expansion(text: str) -> None:
    read = yaml.safe_load(quoting.kubernetes_scalar(text))
    assert parsing.kubernetes_value(read, {"X": "never"}) == text
    assert "$(" not in read.replace("$$", "")


def test_a_reference_to_a_variable_is_expanded_as_the_api_documents() -> None:
    """kubernetes.io, API reference of Container.args: `$$(VAR)` is the text `$(VAR)`."""
    assert parsing.kubernetes_value("$(A)-$$(A)-$$$(A)-$-$A", {"A": "x"}) == "x-$(A)-$x-$-$A"
    with pytest.raises(RenderError, match="unknown variable"):
        parsing.kubernetes_value("$(B)", {"A": "x"})


@given(TEXT | st.lists(TEXT).map(lambda lines: "\n".join([*lines, ""])), st.integers(2, 6))
def test_a_file_inside_yaml_is_read_back(text: str, indent: int) -> None:
    document = f"data:\n{' ' * (indent - 1)}key: {quoting.yaml_text(text, indent)}\n"
    assert yaml.safe_load(document) == {"data": {"key": text}}


def test_a_plain_file_stays_readable_inside_yaml() -> None:
    assert quoting.yaml_text('a: "1"\n\n  b: \\\n', 4) == '|\n    a: "1"\n\n      b: \\'


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_shell_words_are_read_back_by_us_and_by_shlex(words: list[str]) -> None:
    line = " ".join(map(quoting.shell_word, words))
    assert parsing.shell_words(line, {}) == tuple(words)
    assert shlex.split(line) == words


def test_bash_itself_reads_every_nasty_word_back() -> None:
    words = [word for word in NASTY if word]
    command = "printf '%s\\0' " + " ".join(shell(Word("$here/", word)) for word in words)
    done = subprocess.run(["bash", "-c", f"here='a b'; {command}"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == [f"a b/{word}" for word in words]


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_unit_arguments_are_read_back(words: list[str]) -> None:
    line = " ".join(map(quoting.systemd_word, words))
    assert "\n" not in line
    assert parsing.systemd_words(line, {}, {}) == tuple(words)


@given(TEXT)
def test_a_unit_argument_keeps_its_raw_specifier_apart_from_a_literal_one(text: str) -> None:
    read = parsing.systemd_words(unit_word(Word("%d/", text)), {"d": "/run/x"}, {})
    assert read == ("/run/x/" + text,)


@given(TEXT)
def test_plist_text_is_read_back_or_refused(text: str) -> None:
    try:
        escaped = quoting.xml_text(text)
    except RenderError:
        assert any(ord(c) < 0x20 or c in "\ufffe\uffff" for c in text)
        return
    document = f'<?xml version="1.0"?><plist version="1.0"><string>{escaped}</string></plist>'
    assert plistlib.loads(document.encode()) == text


@given(TEXT)
def test_a_comment_stays_on_its_line(text: str) -> None:
    assert len(quoting.one_line(text).splitlines()) <= 1
    assert not quoting.one_line(text).endswith("\\")
    assert "--" not in quoting.xml_comment(text)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
@pytest.mark.parametrize(
    "filter_",
    [quoting.yaml_scalar, quoting.shell_word, quoting.systemd_word, quoting.systemd_assignment, quoting.xml_text],
)
def test_what_no_file_can_hold_is_refused(filter_: object, text: str) -> None:
    with pytest.raises(RenderError, match="NUL or a half character"):
        filter_(text)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (lambda t: parsing.shell_words(t, {}), "a; rm b"),
        (lambda t: parsing.shell_words(t, {}), '"$unknown"'),
        (lambda t: parsing.shell_words(t, {}), "$(id)"),
        (lambda t: parsing.systemd_words(t, {}, {}), "%i"),
        (lambda t: parsing.systemd_words(t, {}, {}), "$HOME"),
        (lambda t: parsing.systemd_words(t, {}, {}), '"open'),
        (lambda t: parsing.compose_value(t, {}), "$HOME"),
        (lambda t: parsing.unit_settings(t), "no setting here"),
    ],
)
def test_text_that_quoting_never_writes_is_a_render_error(reader: object, text: str) -> None:
    with pytest.raises(RenderError):
        reader(text)  # type: ignore[operator]


@settings(max_examples=50)
@given(TEXT)
def test_an_env_file_value_is_a_shell_word(text: str) -> None:
    assert shlex.split(f"A={quoting.shell_word(text)}") == [f"A={text}"]
