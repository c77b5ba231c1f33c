"""Stored measurements move an estimate towards what this machine showed, as far as they are believed."""

from __future__ import annotations

import msgspec
import pytest

from planner.hardware.facts import Calibration
from tests.speed.machines import host, on_3090, rtx_3090


def speed(*rows):
    hardware = msgspec.structs.replace(host(rtx_3090()), calibration=rows)
    return on_3090(hardware=hardware)


def row(ratio, **changes):
    facts = {"engine": "llama.cpp", "placement_class": "dense-gpu", "measured_over_predicted": ratio}
    return Calibration(**(facts | changes))


def test_other_engines_and_classes_change_nothing():
    plain = speed().decode_tokens_per_s
    assert speed(row(0.5, engine="vllm")).decode_tokens_per_s == plain
    assert speed(row(0.5, placement_class="cpu")).decode_tokens_per_s == plain


def test_rows_of_the_class_are_shrunk():
    plain = speed().decode_tokens_per_s.expected
    one, many = (speed(row(0.8, rows=n)).decode_tokens_per_s.expected for n in (1, 40))
    assert 0.8 * plain < many < one < plain


def test_the_same_model_is_nearly_believed_and_narrows_the_range():
    plain = speed().decode_tokens_per_s
    same = speed(row(0.8, model="llama-3-8b", quant="Q4_K_M", rows=3)).decode_tokens_per_s
    assert same.expected == pytest.approx(0.8 * plain.expected, rel=0.02)
    assert same.high / same.low < plain.high / plain.low


def test_the_answer_says_so():
    assert any("calibrated on this machine" in source for source in speed(row(0.9)).sources)
