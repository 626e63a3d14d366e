"""Signs: what looks the same for long is told from captions that follow one another, whatever passes behind both."""

from __future__ import annotations

import tracemalloc
from array import array
from functools import lru_cache

import numpy as np
import pytest

from clear_rt.config import RegionConfig
from clear_rt.errors import ConfigError
from clear_rt.frames.decoder import Decoder
from clear_rt.regions import RegionFinder, RegionRun, Scan
from clear_rt.scan import Scanned
from clear_rt.scan_record import record, recorded
from clear_rt.shapes import Box, Size
from clear_rt.signs_sieve import Sieve
from clear_rt.signs_strokes import Strokes, detail_of

WORKING, PICTURE = Size(320, 180), Size(640, 360)
STEP_FRAMES, STEP_US = 5, 200_000
LOGO, BAND = Box(250, 12, 48, 16), Box(60, 150, 200, 16)
SECOND = 5


@lru_cache(200)
def scene(i: int) -> np.ndarray:
    """Waves that wander by 3 px a scan, with a little noise: luma uint8, 40..170."""
    rows, columns = np.mgrid[0 : WORKING.height_px, 0 : WORKING.width_px]
    noise = np.random.default_rng(i).integers(-4, 5, rows.shape)
    waves = 105 + 35 * np.sin((columns + 3 * i) / 9) + 25 * np.sin((rows - 2 * i) / 7)
    return np.rint(waves + noise).astype(np.uint8)


def glyphs(box: Box, seed: int) -> np.ndarray:
    """Which pixels of a box are ink, bool: letters of 7 px and a gap of 2, each of random strokes 2 px wide."""
    rng = np.random.default_rng(seed)
    ink = np.zeros((box.height_px, box.width_px), bool)
    for x in range(0, box.width_px - 8, 9):
        cells = rng.random((box.height_px // 2, 4)) < 0.5
        letter = cells.repeat(2, axis=0).repeat(2, axis=1)[:, :7]
        ink[: letter.shape[0], x : x + 7] = letter
    return ink


def shown(i: int, *things: tuple[Box, np.ndarray], alpha: float = 1.0) -> tuple[Scan, np.ndarray]:
    """The scan of a picture with ink in boxes, white, and the picture."""
    picture, occlusion = scene(i).astype(np.float32), np.zeros(WORKING[::-1], np.uint8)
    for box, ink in things:
        part = picture[box.slices]
        part[ink] += alpha * (235 - part[ink])
        occlusion[box.slices][ink] = 240
    rgb = np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return Scan(i * STEP_FRAMES, i * STEP_US, occlusion), rgb


def sieved(scans, config=None) -> tuple[Sieve, list[Scan]]:
    sieve, ready = Sieve(config or RegionConfig(), PICTURE, WORKING), []
    count = 0
    for scan, rgb in scans:
        ready += sieve.add(scan, rgb)
        count += 1
    ready += sieve.finish(count * STEP_US)
    assert [scan.index for scan in ready] == [i * STEP_FRAMES for i in range(count)]
    return sieve, ready


def signs(scans, config=None) -> list[RegionRun]:
    scans = list(scans)
    return sieved(scans, config)[0].signs(len(scans) * STEP_FRAMES)


def in_picture(box: Box) -> Box:
    return Box(2 * box.x_px, 2 * box.y_px, 2 * box.width_px, 2 * box.height_px)


def close_around(found: Box, box: Box, margin_px: int = 24) -> bool:
    """Whether `found` holds the box and little more, in pixels of the picture."""
    wide = Box(box.x_px - margin_px, box.y_px - margin_px, box.width_px + 2 * margin_px, box.height_px + 2 * margin_px)
    return found.union(box) == found and wide.union(found) == wide


def tight(box: Box, ink: np.ndarray) -> Box:
    rows, columns = np.nonzero(ink)
    top, left = int(rows.min()), int(columns.min())
    return Box(box.x_px + left, box.y_px + top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)


@pytest.mark.parametrize("alpha", [1.0, 0.6, 0.4])
def test_a_logo_over_a_moving_scene_is_a_sign_from_first_to_last(alpha):
    ink = glyphs(LOGO, 1)
    (sign,) = signs(shown(i, (LOGO, ink), alpha=alpha) for i in range(16 * SECOND))
    assert (sign.start_frame, sign.stop_frame) == (0, 16 * SECOND * STEP_FRAMES)
    assert close_around(sign.box, in_picture(tight(LOGO, ink)))


@pytest.mark.parametrize("hold", [4, 11, 20, 34])
def test_lines_that_follow_one_another_at_one_place_are_never_a_sign(hold):
    """For 16 s, each for 0.8 to 6.8 s, without a gap, of the same width and on the same rows."""
    inks = [glyphs(BAND, seed) for seed in range(16 * SECOND // hold + 1)]
    assert signs(shown(i, (BAND, inks[i // hold])) for i in range(16 * SECOND)) == []


def test_the_same_words_again_after_one_scan_without_are_captions():
    ink = glyphs(BAND, 3)
    assert signs(shown(i, *([(BAND, ink)] if i % 15 else [])) for i in range(20 * SECOND)) == []


@pytest.mark.parametrize(("seconds", "found"), [(11, []), (13, [(2 * SECOND, 15 * SECOND)])])
def test_twelve_seconds_make_a_sign(seconds, found):
    ink, stop = glyphs(LOGO, 1), (2 + seconds) * SECOND
    scans = [shown(i, *([(LOGO, ink)] if 2 * SECOND <= i < stop else [])) for i in range(30 * SECOND)]
    spans = [(sign.start_frame, sign.stop_frame) for sign in signs(scans)]
    # From the scan before on, to the first that shows nothing.
    assert spans == [((first - 1) * STEP_FRAMES + 1, last * STEP_FRAMES) for first, last in found]


def test_twelve_seconds_to_the_last_frame_make_a_sign():
    ink = glyphs(LOGO, 1)
    assert len(signs(shown(i, (LOGO, ink)) for i in range(12 * SECOND))) == 1
    assert signs(shown(i, (LOGO, ink)) for i in range(12 * SECOND - 1)) == []


def test_a_line_that_was_one_with_the_logo_is_no_part_of_the_sign():
    """The first two lines stand so near that logo and line are one blob."""
    near, inks = Box(100, 12, 140, 16), [glyphs(Box(100, 12, 140, 16), seed) for seed in (5, 6)]
    logo = glyphs(LOGO, 1)
    scans = [
        shown(i, (LOGO, logo), *([(near, inks[i // 15])] if i < 30 else [])) for i in range(6 * SECOND, 26 * SECOND)
    ]
    both = [shown(i, (LOGO, logo), (near, inks[i // 15])) for i in range(6 * SECOND)]
    (sign,) = signs(both + scans)
    assert close_around(sign.box, in_picture(tight(LOGO, logo)), margin_px=40)


def test_a_clock_is_a_sign_as_a_whole():
    box = Box(20, 12, 72, 14)
    ink = glyphs(box, 9)

    def clock(i: int) -> np.ndarray:
        told = ink.copy()
        told[:, 63:] = glyphs(Box(0, 0, 18, 14), 100 + i // SECOND)[:, :9]
        return told

    (sign,) = signs(shown(i, (box, clock(i))) for i in range(16 * SECOND))
    assert (sign.start_frame, sign.stop_frame) == (0, 16 * SECOND * STEP_FRAMES)
    assert sign.box.right_px >= 2 * (20 + 70)


@pytest.mark.parametrize(("away", "count"), [(3, 1), (6, 2)])
def test_a_sign_that_is_soon_back_was_there_all_the_time(away, count):
    ink = glyphs(LOGO, 1)
    hidden = range(14 * SECOND, (14 + away) * SECOND)
    found = signs(shown(i, *([] if i in hidden else [(LOGO, ink)])) for i in range(34 * SECOND))
    assert len(found) == count
    assert (found[0].start_frame, found[-1].stop_frame) == (0, 34 * SECOND * STEP_FRAMES)


def ticker(i: int, strip: np.ndarray) -> tuple[Scan, np.ndarray]:
    """A line that crawls by 6 px a scan through a band, all of which the map takes for text."""
    scan, rgb = shown(i, (BAND, strip[:, 6 * i : 6 * i + BAND.width_px]))
    scan.occlusion[BAND.slices] = 240
    return scan, rgb


def test_a_ticker_is_left_alone_though_its_evidence_stands_still():
    strip = glyphs(Box(0, 0, 1000, BAND.height_px), 4)
    scans = [ticker(i, strip) for i in range(16 * SECOND)]
    sieve, ready = sieved(scans)
    (sign,) = sieve.signs(len(scans) * STEP_FRAMES)
    assert close_around(sign.box, in_picture(BAND))
    for given, runs in ([scan for scan, _ in scans], 1), (ready, 0):
        finder = RegionFinder(RegionConfig(), PICTURE)
        for scan in given:
            finder.add(scan)
        assert len(finder.finish(len(scans) * STEP_FRAMES)) == runs


def test_a_caption_over_a_ticker_is_no_part_of_it():
    strip, ink = glyphs(Box(0, 0, 1000, BAND.height_px), 4), glyphs(BAND, 8)
    caption = range(14 * SECOND, 17 * SECOND)
    sieve, ready = sieved(shown(i, (BAND, ink)) if i in caption else ticker(i, strip) for i in range(18 * SECOND))
    assert len(sieve.signs(18 * SECOND * STEP_FRAMES)) == 1
    text = [bool(scan.occlusion.any()) for scan in ready]
    # The last looks before the caption may be alike by chance; what comes after it is too short to be told.
    assert not any(text[: caption.start - 3])
    assert all(text[caption.start :])


def test_what_rolls_up_is_left_alone():
    ink = glyphs(Box(0, 0, 40, 14), 4)
    scans = [shown(i, (Box(100, 160 - 2 * (i % 75), 40, 14), ink)) for i in range(16 * SECOND)]
    _, ready = sieved(scans)
    finder = RegionFinder(RegionConfig(), PICTURE)
    for scan in ready:
        finder.add(scan)
    assert finder.finish(len(scans) * STEP_FRAMES) == []


def test_maps_lose_the_sign_and_nothing_else():
    logo, inks = glyphs(LOGO, 1), [glyphs(BAND, seed) for seed in range(8)]
    scans = [shown(i, (LOGO, logo), (BAND, inks[i // 12])) for i in range(18 * SECOND)]
    sieve, ready = sieved(scans)
    (sign,) = sieve.signs(len(scans) * STEP_FRAMES)
    inside = Box(sign.box.x_px // 2, sign.box.y_px // 2, sign.box.width_px // 2, sign.box.height_px // 2)
    for (before, _), after in zip(scans, ready, strict=True):
        expected = before.occlusion.copy()
        expected[inside.slices] = 0
        assert np.array_equal(after.occlusion, expected)
        assert after.time_us == before.time_us


def test_of_a_short_video_every_map_is_as_it_was():
    scans = [shown(i, (LOGO, glyphs(LOGO, 1))) for i in range(11 * SECOND)]
    sieve, ready = sieved(scans)
    assert all(np.array_equal(a.occlusion, b.occlusion) for (a, _), b in zip(scans, ready, strict=True))
    assert sieve.signs(len(scans) * STEP_FRAMES) == []


def test_what_is_kept_anyway_is_not_told_of():
    scans = [shown(i, (LOGO, glyphs(LOGO, 1))) for i in range(14 * SECOND)]
    assert signs(scans, RegionConfig(keep=(in_picture(LOGO),))) == []


def test_memory_does_not_grow_with_the_scans():
    """What is held after 20 s is held after 40: 12 s of packed maps, and 64 pieces of 20 KB at most."""
    logo, inks = glyphs(LOGO, 1), [glyphs(BAND, seed) for seed in range(40)]
    sieve, held = Sieve(RegionConfig(), PICTURE, WORKING), []
    scene(0)
    tracemalloc.start()
    for i in range(40 * SECOND):
        sieve.add(*shown(i, (LOGO, logo), (BAND, inks[i // 13])))
        scene.cache_clear()
        if i in (20 * SECOND, 40 * SECOND - 1):
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[1] < held[0] + 50_000
    assert held[1] < 1_000_000


def test_detail_is_luma_less_its_mean_around():
    rgb = np.random.default_rng(1).integers(0, 256, (23, 31, 3), np.uint8)
    luma = (rgb.astype(np.int64) @ [1, 2, 1]) // 4
    padded = np.pad(luma, 4, mode="edge").astype(np.float64)
    around = np.lib.stride_tricks.sliding_window_view(padded, (9, 9)).mean(axis=(2, 3))
    # Two roundings to float32 of values below 256.
    assert np.abs(detail_of(rgb) - (luma - around)).max() < 2 * 256 * 2**-24
    assert not detail_of(np.full((5, 3, 3), 200, np.uint8)).any()


def test_likeness_is_a_correlation_that_contrast_does_not_change():
    scan, rgb = shown(0, (BAND, glyphs(BAND, 1)))
    detail = detail_of(rgb)
    strokes = Strokes.seen(detail, scan.occlusion > 0, BAND)
    assert strokes is not None
    for gain in (1.0, 0.2, -1.0):
        assert abs(strokes.likeness(detail * np.float32(gain)) - np.sign(gain)) < 1e-5
    assert strokes.likeness(np.zeros_like(detail)) == 0
    assert Strokes.seen(detail, np.zeros(detail.shape, bool), BAND) is None


def test_an_interrupted_run_remembers_signs():
    sign = RegionRun(3, 90, Box(1, 2, 30, 40))
    scanned = Scanned((RegionRun(0, 9, BAND),), array("q", range(100)), 100, (sign,))
    assert recorded(record(scanned, Decoder("cpu")), Decoder("cpu")) == scanned


def test_options_are_checked():
    assert RegionConfig().leaves_signs
    assert not RegionConfig(text="all").leaves_signs
    assert not RegionConfig(mode="fixed", boxes=(BAND,)).leaves_signs
    with pytest.raises(ConfigError, match="--text must be subtitles or all"):
        RegionConfig(text="logos")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="sign_us must be positive"):
        RegionConfig(sign_us=0)
