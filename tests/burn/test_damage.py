"""Damage keeps count and order, does the same to twins, and does as much as it is told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.burn.config import BurnConfig
from clear_rt.burn.damage.chain import coding, damaged, moved_by
from clear_rt.burn.damage.damage import CODECS, KINDS, Damage, parse_damage, random_damage
from clear_rt.burn.lines import Caption
from clear_rt.burn.video import burn
from clear_rt.config import WriteConfig
from clear_rt.errors import ConfigError
from clear_rt.frames.read import read
from clear_rt.frames.recode import Coding, recoded


def numbered(count, height=64, width=96):
    """Pictures whose brightness says which they are."""
    rows, columns = np.mgrid[0:height, 0:width]
    pattern = ((rows // 8 + columns // 8) % 2 * 12)[..., None]
    return [np.broadcast_to(20 + 9 * i + pattern, (height, width, 3)).astype(np.uint8) for i in range(count)]


def db(before, after):
    error = np.mean([np.square(a.astype(float) - b).mean() for a, b in zip(before, after, strict=True)])
    return 10 * np.log10(255**2 / max(error, 1e-9))


@pytest.mark.parametrize("codec", list(CODECS))
@pytest.mark.parametrize(("count", "size"), [(1, (64, 96)), (2, (33, 47)), (23, (64, 96)), (5, (17, 130))])
def test_a_codec_keeps_count_order_and_size(codec, count, size):
    pictures = numbered(count, *size)
    found = list(damaged(pictures, Damage(codec=codec, rate=4, gop=6), 0))
    assert [picture.shape for picture in found] == [(*size, 3)] * count
    assert [round((picture.mean() - 20 - 6) / 9) for picture in found] == list(range(count))
    # A step of limited-range luma is 1.16 levels; rounding, not cutting off, stays within half of it.
    assert abs(np.mean(found) - np.mean(pictures)) < 0.6


def test_nothing_in_nothing_out():
    assert list(damaged([], Damage(codec="h264", grain=2.0, scale=0.5, combed=2, jpeg=50), 0)) == []


def noisy(count=4, height=72, width=128):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 1)).repeat(3, axis=2).astype(np.uint8) for _ in range(count)]


@pytest.mark.parametrize("codec", list(CODECS))
def test_a_coarser_rate_costs_quality(codec):
    pictures = noisy()
    low, high = (float(edge) for edge in KINDS[codec].usual)
    rates = [round(rate) for rate in (low, (low + high) / 2, high)]
    levels = [db(pictures, list(damaged(pictures, Damage(codec=codec, rate=rate), 0))) for rate in rates]
    assert levels[0] > levels[1] + 1
    assert levels[1] > levels[2] + 1


@pytest.mark.parametrize(
    "damage",
    [
        Damage(grain=6.0),
        Damage(scale=0.4),
        Damage(combed=5),
        Damage(jpeg=20),
        Damage(codec="h264", rate=30),
        Damage(codec="hevc", rate=30),
        Damage(codec="mpeg2", rate=9),
        Damage(grain=3.0, scale=0.7, combed=2, jpeg=60, codec="mpeg4", rate=5),
    ],
)
def test_twins_are_damaged_alike_and_again(damage):
    pictures = noisy()
    first, again = (list(damaged(pictures, damage, 7)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert db(pictures, first) < 45
    np.testing.assert_array_equal(pictures[0], noisy()[0])


def test_grain_is_as_strong_as_told_and_another_by_seed_and_frame():
    pictures = [np.full((120, 200, 3), 128, np.uint8)] * 3
    grains = [[p.astype(float) - 128 for p in damaged(pictures, Damage(grain=6.0), seed)] for seed in (1, 2)]
    for grain in (*grains[0], *grains[1]):
        # Of 0.6^2 + 0.8^2 = 1 times sigma; coarse grains leave a quarter of the samples independent.
        assert abs(grain.std() - 6.0) < 0.3
        assert abs(grain.mean()) < 0.3
        np.testing.assert_array_equal(grain[..., 0], grain[..., 2])
    assert not np.array_equal(grains[0][0], grains[0][1])
    assert not np.array_equal(grains[0][0], grains[1][0])


def test_combed_frames_hold_the_odd_rows_of_the_one_before():
    pictures = numbered(11)
    found = list(damaged(pictures, Damage(combed=2, cadence=5), 0))
    for index, picture in enumerate(found):
        before = pictures[index - 1] if index and index % 5 < 2 else pictures[index]
        np.testing.assert_array_equal(picture[1::2], before[1::2])
        np.testing.assert_array_equal(picture[::2], pictures[index][::2])


def test_a_mask_goes_through_what_moves_pixels_and_through_nothing_else():
    masks = [np.full((8, 8), 255 * (i == 2), np.uint8) for i in range(5)]
    assert [int(m.any()) for m in moved_by(masks, Damage(combed=5))] == [0, 0, 1, 1, 0]
    assert list(moved_by(masks, Damage(grain=9.0, jpeg=2, codec="h264"))) == masks
    dot = np.zeros((20, 20), np.uint8)
    dot[9:11, 9:11] = 255
    (spread,) = moved_by([dot], Damage(scale=0.5))
    assert (spread > 0).sum() > 4
    assert abs(spread.sum() - dot.sum(dtype=int)) < 0.1 * dot.sum(dtype=int)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", Damage()),
        ("h264=30", Damage(codec="h264", rate=30)),
        ("scaled=0.5,grain=4, mpeg2=7", Damage(scale=0.5, grain=4.0, codec="mpeg2", rate=7)),
        ("interlaced=3,jpeg=55", Damage(combed=3, jpeg=55)),
    ],
)
def test_damage_by_name(text, expected):
    assert parse_damage(text, 0) == expected
    assert expected.changes_anything == (text != "none")


@pytest.mark.parametrize("text", ["", "vhs", "h264=", "h264=99", "grain=loud", "h264,hevc", "jpeg=nan", "any,h264"])
def test_damage_that_is_none_is_one_sentence(text):
    if text == "h264=":
        assert parse_damage(text, 0).codec == "h264"
        return
    with pytest.raises(ConfigError) as caught:
        parse_damage(text, 0)
    assert len(str(caught.value).splitlines()) == 1


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), harshest=st.floats(0, 1))
def test_drawn_damage_is_within_what_is_usual(seed, harshest):
    damage = random_damage(np.random.default_rng(seed), harshest)
    assert damage == random_damage(np.random.default_rng(seed), harshest)
    low, high = KINDS[damage.codec].usual
    assert low - 0.5 <= damage.rate <= low + harshest * (high - low) + 0.5
    assert damage.scale <= 1
    assert 0 <= damage.combed <= damage.cadence
    assert coding(damage).encoder in ("libx264", "libx265", "mpeg2video", "mpeg4")
    assert parse_damage("any", seed % 1000) == parse_damage("any", seed % 1000)


def test_a_codec_that_is_not_there_is_one_sentence():
    with pytest.raises(ConfigError, match="cannot code with libvhs"):
        list(recoded(numbered(1), Coding("libvhs", ())))


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p10le", "gbrp", "gray"])
def test_a_burned_video_keeps_its_format_times_and_twin(make_video, tmp_path, pixel_format):
    clean = make_video(pixel_format, 95, 63, frames=7, first=3)
    target, mask, twin = (tmp_path / name for name in ("o.mkv", "m.mkv", "t.mkv"))
    config = BurnConfig(style="outline", size_share=0.3, damage="scaled=0.6,h264=24")
    captions = [Caption(200_000, 500_000, ("Hi",))]
    lossless = WriteConfig(lossless=True)
    report = burn(clean, target, config, captions=captions, mask=mask, twin=twin, write_config=lossless)
    frames = [list(read(path)) for path in (clean, target, twin, mask)]
    assert report.frames == 7
    assert [[f.time_us for f in part] for part in frames] == [[f.time_us for f in frames[0]]] * 4
    assert [f.picture.format.name for f in frames[1]] == [f.picture.format.name for f in frames[0]]
    for index, (subtitled, other, alpha) in enumerate(zip(*frames[1:], strict=True)):
        covered = alpha.planes[0].samples > 0
        assert covered.any() == (2 <= index < 5)
        apart = np.abs(subtitled.planes[0].samples.astype(int) - other.planes[0].samples)
        scale = 2 ** (subtitled.planes[0].bits - 8)
        if covered.any():
            assert apart[covered].mean() > 8 * scale
        else:
            # The encoder looks ahead, so what it leaves of a picture differs a little before the caption, too.
            assert apart.mean() < 3 * scale
