"""Boxes, times and sensitivity from the command line's words."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_rt.config import MatteConfig, ReadConfig, RegionConfig, TimeSpan
from clear_rt.errors import ConfigError
from clear_rt.option_values import at_sensitivity, box_of, reading_of, region_of, span_of
from clear_rt.shapes import Box


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("00:10-12:00", TimeSpan(10_000_000, 720_000_000)),
        ("90-120.5", TimeSpan(90_000_000, 120_500_000)),
        ("1:02:03-", TimeSpan(3_723_000_000, None)),
        ("-0:30", TimeSpan(0, 30_000_000)),
        ("0.04-0.08", TimeSpan(40_000, 80_000)),
    ],
)
def test_times(text, span):
    assert span_of(text) == span


@pytest.mark.parametrize("text", ["", "-", "10", "10-5", "5-5", "a-b", "1:2:3:4-", "10--20", "0x1-9", "-0", "1e3-"])
def test_no_times(text):
    with pytest.raises(ConfigError, match="--time must be such as"):
        span_of(text)


@given(st.integers(0, 86_399), st.integers(1, 86_400))
def test_any_time_of_a_day(start, length):
    def clock(seconds):
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    assert span_of(f"{clock(start)}-{clock(start + length)}") == (start * 10**6, (start + length) * 10**6)


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "1,2,3,4,5", "-1,0,2,2", "0,0,0,4"])
@pytest.mark.parametrize("option", ["--region", "--keep-region"])
def test_no_boxes(text, option):
    with pytest.raises(ConfigError, match=option):
        box_of(text, option)


def test_regions_are_a_word_or_boxes():
    assert region_of([], [], []) == region_of(["auto"], [], []) == RegionConfig()
    assert region_of(["full"], [], []).mode == "full"
    found = region_of(["1,2,30,40", "5,60,70,80"], ["9,9,9,9"], ["1-2", "3-"])
    assert found.boxes == (Box(1, 2, 30, 40), Box(5, 60, 70, 80))
    assert (found.mode, found.keep, found.times) == (
        "fixed",
        (Box(9, 9, 9, 9),),
        ((10**6, 2 * 10**6), (3 * 10**6, None)),
    )
    for mixed in (["auto", "1,2,3,4"], ["full", "auto"]):
        with pytest.raises(ConfigError, match="not both"):
            region_of(mixed, [], [])


def test_sensitivity_moves_every_threshold_and_normal_none():
    region, matte = RegionConfig(), MatteConfig()
    assert at_sensitivity(region, matte, "normal") == (region, matte)
    (low, low_matte), (high, high_matte) = (at_sensitivity(region, matte, name) for name in ("low", "high"))
    for name in ("enter_probability", "stay_probability"):
        assert getattr(high, name) < getattr(region, name) < getattr(low, name)
    for name in ("seen_probability", "sure_probability", "high_probability", "low_probability"):
        assert getattr(high_matte, name) < getattr(matte, name) < getattr(low_matte, name)
    assert high.enter_probability == pytest.approx(0.6676, abs=1e-4)


@pytest.mark.parametrize(
    ("rate", "fraction"), [("24", Fraction(24)), ("23.976", Fraction("23.976")), ("24000/1001", Fraction(24000, 1001))]
)
def test_rates(rate, fraction):
    assert reading_of("cpu", rate, None) == ReadConfig(decoder="cpu", rate=fraction)


@pytest.mark.parametrize("rate", ["", "0", "0.0", "-1", "1001", "24/0", "24fps", "nan", "1e3", "24/1.001"])
def test_no_rates(rate):
    with pytest.raises(ConfigError, match="--rate must be"):
        reading_of("auto", rate, None)


def test_raw_pictures():
    assert reading_of("auto", None, "1920x1080:yuv422p10le").raw == (1920, 1080, "yuv422p10le")
    for text in ("", "1920x1080", "0x2:yuv420p", "2x00:yuv420p", "1920*1080:yuv420p", "2x2:", "2x2:a b"):
        with pytest.raises(ConfigError, match="--raw must be the size and pixel format"):
            reading_of("auto", None, text)
