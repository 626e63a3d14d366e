"""Pictures to latents and back: as many as went in, in their order, none held that is not needed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.errors import EngineError
from clear_rt.latents import decode
from clear_rt.latents import encode as encode_pictures
from clear_rt.schedule import frames_of, latents_of
from tests.block_engine import BLOCK_PX, CHANNELS, BlockEngine, answer


def encode(engine, pictures, total_frames, **changes):
    given = {"latent_channels": CHANNELS, "latent_px": BLOCK_PX} | changes
    return encode_pictures(engine, pictures, total_frames, **given)


def _pictures(count, height=16, width=24):
    """Blocks of random colour, so that their means are themselves."""
    rng = np.random.default_rng(count)
    blocks = rng.integers(0, 256, (count, height // BLOCK_PX, width // BLOCK_PX, 3), np.uint8)
    return list(blocks.repeat(BLOCK_PX, 1).repeat(BLOCK_PX, 2))


@given(st.integers(1, 40))
@settings(deadline=None)
def test_what_is_encoded_is_decoded(total_frames):
    """The block engine inverts; fp32 over 16 channels of at most 1 each: 255 * 16 * 2**-24, and as much again."""
    engine, pictures = BlockEngine(), _pictures(total_frames)
    latents = list(encode(engine, pictures, total_frames))
    assert len(latents) == latents_of(total_frames)
    found = list(decode(engine, latents, total_frames))
    assert len(found) == total_frames
    for picture, result in zip(pictures, found, strict=True):
        assert result.dtype == np.float32
        assert result.flags.c_contiguous
        np.testing.assert_allclose(result, answer(picture), atol=2e-3)


@given(st.integers(1, 40))
@settings(deadline=None)
def test_the_last_latent_is_filled_up_with_the_last_picture(total_frames):
    pictures = _pictures(total_frames)
    full = frames_of(latents_of(total_frames))
    by_hand = pictures + [pictures[-1]] * (full - total_frames)
    for cut, whole in zip(
        encode(BlockEngine(), pictures, total_frames), encode(BlockEngine(), by_hand, full), strict=True
    ):
        np.testing.assert_array_equal(cut, whole)


def test_pictures_are_pulled_when_they_are_needed():
    """The n-th latent takes 1 + 4 (n - 1) pictures and not one more."""
    pulled = []

    def pictures():
        for picture in _pictures(17):
            pulled.append(picture)
            yield picture

    for n, _ in enumerate(encode(BlockEngine(), pictures(), 17)):
        assert len(pulled) == 1 + 4 * n


def test_latents_are_pulled_when_they_are_needed():
    pulled = []

    def latents():
        for latent in encode(BlockEngine(), _pictures(17), 17):
            pulled.append(latent)
            yield latent

    for n, _ in enumerate(decode(BlockEngine(), latents(), 14)):
        assert len(pulled) == latents_of(n + 1)
    assert len(pulled) == latents_of(14)


@pytest.mark.parametrize("given_frames", [0, 1, 6, 8, 12])
def test_another_number_of_pictures_is_refused(given_frames):
    with pytest.raises(ValueError, match=f"expected 7 pictures, got {given_frames}"):
        list(encode(BlockEngine(), _pictures(given_frames), 7))


def test_too_few_latents_are_refused():
    latents = list(encode(BlockEngine(), _pictures(5), 5))
    with pytest.raises(ValueError, match="expected latents of 6 frames, got those of 5"):
        list(decode(BlockEngine(), latents, 6))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_an_error(value):
    latents = list(encode(BlockEngine(), _pictures(5), 5))
    latents[1][3, 0, 0] = value
    found = decode(BlockEngine(), latents, 5)
    next(found)
    with np.errstate(invalid="ignore"), pytest.raises(EngineError, match="no numbers"):
        next(found)


def test_values_beyond_black_and_white_are_clipped():
    class Wide(BlockEngine):
        def decode(self, latent, caches):
            frames, caches = super().decode(latent, caches)
            return frames * 3, caches

    black_and_white = [np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)]
    found = list(decode(Wide(), encode(BlockEngine(), black_and_white, 2), 2))
    assert [picture.min() for picture in found] == [picture.max() for picture in found] == [255, 0]


@pytest.mark.parametrize(("total_frames", "least_latents"), [(1, 4), (5, 2), (6, 5), (13, 2)])
def test_a_short_run_is_filled_up_to_as_many_latents_as_are_asked_for(total_frames, least_latents):
    pictures = _pictures(total_frames)
    full = frames_of(max(least_latents, latents_of(total_frames)))
    by_hand = pictures + [pictures[-1]] * (full - total_frames)
    found = encode(BlockEngine(), pictures, total_frames, least_latents=least_latents)
    for filled, whole in zip(found, encode(BlockEngine(), by_hand, full), strict=True):
        np.testing.assert_array_equal(filled, whole)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"latent_channels": 4}, [4, 2, 3]), ({"latent_px": 4}, [16, 4, 6]), ({"latent_px": 16}, [16, 1, 1])],
)
def test_latents_of_another_shape_than_the_bundles_are_an_error_at_the_first(changes, expected):
    engine = BlockEngine()
    words = rf"expected latents \[{', '.join(map(str, expected))}\] of crops of 24x16 .*, found \[16, 2, 3\]; build"
    with pytest.raises(EngineError, match=words):
        list(encode(engine, _pictures(9), 9, **changes))
    assert len(engine.encoded_shapes) == 1
