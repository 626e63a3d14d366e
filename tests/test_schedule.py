"""The sampler's times: exact rationals, rounded as the released code rounds them, frames against latents."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.schedule import bf16, frames_of, latents_of, sigmas, timesteps

FIVE = (1, Fraction(20, 21), Fraction(15, 17), Fraction(10, 13), Fraction(5, 9), 0)
CHANGES = (Fraction(-1, 21), Fraction(-25, 357), Fraction(-25, 221), Fraction(-25, 117), Fraction(-5, 9))


def test_five_steps_are_the_published_rationals():
    assert sigmas(5) == tuple(float(level) for level in FIVE)
    assert tuple(b - a for a, b in pairwise(FIVE)) == CHANGES
    assert timesteps(5) == tuple(float(1000 * level) for level in FIVE[:-1])


def test_the_released_code_rounds_its_timesteps():
    assert tuple(bf16(value) for value in timesteps(5)) == (1000.0, 952.0, 884.0, 768.0, 556.0)


def test_ten_steps_are_the_published_ones():
    found = [1000, 978.26, 952.38, 921.05, 882.35, 833.33, 769.23, 681.82, 555.56, 357.14]
    assert timesteps(10) == pytest.approx(found, abs=0.005)


@given(st.integers(1, 400), st.fractions(Fraction(1, 10), 20, max_denominator=64))
def test_levels_fall_strictly_from_one_to_zero(steps, shift):
    levels = sigmas(steps, float(shift))
    assert len(levels) == steps + 1
    assert (levels[0], levels[-1]) == (1.0, 0.0)
    assert all(a > b for a, b in pairwise(levels))
    exact = Fraction(float(shift))
    for i, level in enumerate(levels):
        s = 1 - Fraction(i, steps)
        assert level == float(exact * s / (1 + (exact - 1) * s))


@given(st.integers(1, 60), st.integers(1, 8))
def test_equal_levels_of_different_step_counts_are_equal_floats(steps, factor):
    """So that a table of timesteps shared by several step counts has one row for each."""
    assert set(sigmas(steps)) <= set(sigmas(steps * factor))
    assert set(timesteps(steps)) <= set(timesteps(steps * factor))


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps):
    for function in (sigmas, timesteps):
        with pytest.raises(ValueError, match=f"at least one of steps, got {steps}"):
            function(steps)


@pytest.mark.parametrize("shift", [0.0, -5.0, math.inf, math.nan])
def test_a_shift_that_is_no_positive_number_is_refused(shift):
    with pytest.raises(ValueError, match="positive shift"):
        sigmas(5, shift)


def _nearest_even(value: float) -> float:
    """The definition: 8 significant bits, or a multiple of 2**-133 below the normal range, ties to even."""
    if value == 0:
        return value
    exponent = max(math.frexp(value)[1] - 8, -133)
    # round() of a Fraction is exact and takes ties to even.
    return math.copysign(math.ldexp(round(Fraction(value) / Fraction(2) ** exponent), exponent), value)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_bf16_is_the_nearest_even_one(value):
    expected = _nearest_even(value)
    if abs(expected) >= 2.0**128:
        expected = math.copysign(math.inf, value)
    assert struct.pack("<d", bf16(value)) == struct.pack("<d", expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 + 2**-8, 1.0),
        (1 + 3 * 2**-8, 1 + 2**-6),
        (1 + 2**-8 + 2**-23, 1 + 2**-7),
        (1 + 2**-8 + 2**-40, 1.0),
        (-0.0, -0.0),
        (2.0**-134, 0.0),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
    ],
)
def test_bf16_ties_and_ends(value, expected):
    assert struct.pack("<d", bf16(value)) == struct.pack("<d", expected)


def test_bf16_of_what_is_no_float32():
    assert math.isnan(bf16(math.nan))
    with pytest.raises(OverflowError):
        bf16(1e39)


@settings(deadline=None)
@given(st.floats(-3e38, 3e38))
def test_bf16_is_what_torch_says(value):
    torch = pytest.importorskip("torch")
    assert bf16(value) == torch.tensor(value, dtype=torch.bfloat16).item()


def test_the_first_latent_holds_one_frame():
    assert [latents_of(frames) for frames in (1, 2, 5, 6, 9, 17, 33, 81, 217, 321, 353)] == [
        1, 2, 2, 3, 3, 5, 9, 21, 55, 81, 89,
    ]  # fmt: skip
    assert [frames_of(latents) for latents in (1, 2, 9, 21, 81)] == [1, 5, 33, 81, 321]


@given(st.integers(1, 10**7), st.integers(1, 16))
def test_frames_are_padded_up_to_the_next_whole_latent(frames, latent_frames):
    padded = frames_of(latents_of(frames, latent_frames), latent_frames)
    assert frames <= padded < frames + latent_frames
    assert (padded - 1) % latent_frames == 0
    assert latents_of(padded, latent_frames) == latents_of(frames, latent_frames)


@pytest.mark.parametrize("count", [0, -4])
def test_nothing_is_no_clip(count):
    with pytest.raises(ValueError, match=f"frames, got {count}"):
        latents_of(count)
    with pytest.raises(ValueError, match=f"latents, got {count}"):
        frames_of(count)
