"""Reading below a root: states instead of exceptions, and nothing outside of it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings, strategies as st

from planner.errors import ProbeError
from planner.hardware.tree import Tree, format_cpu_list, parse_cpu_list, parse_cpu_mask, parse_integer


def test_links_that_leave_the_root_are_missing(build, tmp_path):
    (tmp_path / "secret").write_text("outside")
    root = build(
        {
            "sys/inside": "value\n",
            "sys/relative": "->inside",
            "sys/absolute": "->/etc/hostname",
            "sys/upwards": "->../../secret",
            "sys/folder": f"->{tmp_path}",
        }
    )
    tree = Tree(root)
    assert tree.text("sys/relative") == "value"
    assert tree.text("sys/absolute") is None
    assert tree.text("sys/upwards") is None
    assert tree.text("sys/folder/secret") is None
    assert tree.text("../secret") is None
    assert tree.names("sys/folder") == ()
    assert not tree.live


def test_states(build):
    root = build({"empty": "", "folder/file": "1", "text": " 12 \n", "binary": "\0\0"})
    tree = Tree(root)
    assert tree.state("nothing") == "missing"
    assert tree.state("folder") == "missing"
    assert tree.text("empty") is None
    assert tree.text("binary") is None
    assert tree.integer("text") == 12
    assert tree.cpus("empty") == ()
    assert tree.cpus("nothing") is None


def test_a_pipe_does_not_hang_the_probe(build):
    root = build({"a": ""})
    os.mkfifo(root / "pipe")
    assert Tree(root).text("pipe") is None


def test_root_must_be_a_folder(tmp_path):
    with pytest.raises(ProbeError, match="is not a folder"):
        Tree(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3,8", (0, 1, 2, 3, 8)), ("", ()), ("5", (5,)), ("3-1", None), ("a", None), ("0-99999999999", None)],
)
def test_cpu_lists(text, cpus):
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize(
    ("text", "cpus"), [("f", (0, 1, 2, 3)), ("1,00000000", (32,)), ("1,,00000001", (0, 64)), ("x", None)]
)
def test_cpu_masks(text, cpus):
    assert parse_cpu_mask(text) == cpus


@given(st.sets(st.integers(0, 5000), max_size=60))
def test_a_written_list_reads_back(cpus):
    ordered = tuple(sorted(cpus))
    assert parse_cpu_list(format_cpu_list(ordered)) == ordered


@settings(max_examples=50)
@given(st.text(max_size=40))
def test_no_text_breaks_the_parsers(text):
    parse_cpu_list(text), parse_cpu_mask(text), parse_integer(text)
