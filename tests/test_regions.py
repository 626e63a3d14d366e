"""Region runs: every frame with text is covered, specks and blinks are not, and memory does not grow with the scans."""

from __future__ import annotations

import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.config import RegionConfig
from clear_rt.errors import ConfigError
from clear_rt.regions import RegionFinder, RegionRun, Scan, Timetable, merge_runs
from clear_rt.regions_blobs import find_blobs
from clear_rt.shapes import Box, Size

WORKING = Size(640, 360)
PICTURE = Size(1280, 720)
STEP_FRAMES, STEP_US = 5, 200_000
BAND = Box(200, 310, 240, 20)
TITLE = Box(260, 20, 120, 14)


def letters(canvas: np.ndarray, box: Box, value: int = 240) -> np.ndarray:
    """Draws strokes three pixels wide every eight pixels, as a map of a line of text looks."""
    for x in range(box.x_px, box.right_px - 2, 8):
        canvas[box.y_px : box.bottom_px, x : x + 3] = value
    return canvas


def empty() -> np.ndarray:
    return np.zeros((WORKING.height_px, WORKING.width_px), np.uint8)


def find(maps, config=None, picture=PICTURE, total=None) -> list[RegionRun]:
    finder = RegionFinder(config or RegionConfig(), picture)
    for i, occlusion in enumerate(maps):
        finder.add(Scan(i * STEP_FRAMES, i * STEP_US, occlusion))
    return finder.finish(len(maps) * STEP_FRAMES if total is None else total)


def timeline(shown: str, box: Box = BAND) -> list[np.ndarray]:
    """One map per character: '#' confident text, '+' weak text, '.' none."""
    values = {"#": 240, "+": 110}
    return [letters(empty(), box, values[c]) if c in values else empty() for c in shown]


def spans(shown: str, **options) -> list[tuple[int, int]]:
    runs = find(timeline(shown), RegionConfig(**options))
    return [(run.start_frame // STEP_FRAMES, run.stop_frame) for run in runs]


def test_nothing_in_nothing_out():
    assert find([empty()] * 9) == []
    assert find([]) == []
    assert find(timeline("####"), total=0) == []


def test_box_is_grown_by_the_margin_and_snapped():
    (run,) = find(timeline("..####.."))
    text = Box(400, 620, 480, 40)
    assert run.box.union(text) == run.box
    assert run.box.x_px % 16 == run.box.y_px % 16 == run.box.right_px % 16 == 0
    assert run.box.bottom_px == PICTURE.height_px
    margin = 65
    assert text.y_px - margin - 16 < run.box.y_px <= text.y_px - margin
    assert text.x_px - margin - 16 < run.box.x_px <= text.x_px - margin


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("..####..", [(1, 31)]),
        ("########", [(0, 40)]),
        ("..#.....", []),
        ("..#.#...", []),
        ("..##....", [(1, 21)]),
        ("..##+++.", [(1, 36)]),
        ("++++++++", []),
        ("++##++..", [(1, 31)]),
        ("..##..##", [(1, 40)]),
        ("..##..+.", [(1, 21)]),
        ("##.....##", [(0, 11), (6, 45)]),
        ("#", [(0, 5)]),
        ("##", [(0, 10)]),
        ("#.......", [(0, 6)]),
        (".......#", [(6, 40)]),
        ("......##", [(5, 40)]),
        ("+.......", []),
    ],
)
def test_hysteresis_in_time(shown, expected):
    assert spans(shown) == expected


def test_bridge_is_measured_between_scans_that_saw_text():
    assert len(spans("##..##", bridge_us=3 * STEP_US)) == 1
    assert len(spans("##...##", bridge_us=3 * STEP_US)) == 2
    assert len(spans("####", bridge_us=0)) == 1


def test_min_scans_counts_consecutive_ones():
    assert spans(".##.##.##.", min_scans=3) == []
    assert spans(".###......", min_scans=3) == [(0, 21)]
    assert spans("#.", min_scans=3) == [(0, 6)]
    assert spans("#.........", min_scans=1) == [(0, 6)]


def test_what_moves_between_scans_is_scenery():
    """A sign that the camera passes looks like text in every scan, but never in the same place."""
    moving = [letters(empty(), Box(80 + 5 * i, 150, 120, 20)) for i in range(12)]
    assert find(moving) == []
    assert len(find(moving, RegionConfig(steady_share=0.0))) == 1


def test_what_moves_at_the_ends_of_the_video_is_scenery_too():
    moving = [letters(empty(), Box(80 + 5 * i, 150, 120, 20)) for i in range(3)]
    assert find(moving + [empty()] * 5) == []
    assert find([empty()] * 5 + moving) == []


def test_one_scan_is_enough_where_frames_last_longer_than_the_interval():
    finder = RegionFinder(RegionConfig(), PICTURE)
    for i, shown in enumerate("..#..#.."):
        finder.add(Scan(i, i * 1_000_000, letters(empty(), BAND) if shown == "#" else empty()))
    assert [(run.start_frame, run.stop_frame) for run in finder.finish(8)] == [(1, 4), (4, 7)]


def test_text_that_changes_in_place_is_kept_as_long_as_each_line_stands_still():
    lines = [Box(200, 310, 240, 20), Box(203, 310, 180, 20), Box(150, 310, 333, 20)]
    maps = [letters(empty(), line) for line in lines for _ in range(3)]
    (run,) = find(maps)
    assert (run.start_frame, run.stop_frame) == (0, 45)


def test_band_and_title_overlap_in_time_as_two_runs():
    maps = [letters(m, TITLE) if 2 <= i < 8 else m for i, m in enumerate(timeline("....######.."))]
    runs = find(maps)
    assert [(run.start_frame, run.stop_frame) for run in runs] == [(5, 41), (15, 51)]
    assert not runs[0].box.intersects(runs[1].box)


def test_lines_of_one_band_become_one_run_with_the_union():
    short, long = Box(280, 310, 80, 20), Box(160, 310, 320, 20)
    maps = timeline("####", short) + timeline("..") + timeline("####", long)
    (run,) = find(maps)
    assert run.start_frame == 0
    assert run.stop_frame == 50
    assert run.box.x_px <= 320 - 65
    assert run.box.right_px >= 960 + 65 - 16


def test_two_lines_and_spaced_words_are_one_blob():
    canvas = letters(letters(empty(), Box(200, 290, 100, 16)), Box(180, 320, 160, 16))
    assert len(find_blobs(canvas, 153, 89)) == 1
    canvas = letters(letters(empty(), Box(100, 300, 60, 16)), Box(176, 300, 60, 16))
    assert len(find_blobs(canvas, 153, 89)) == 1


@pytest.mark.parametrize("text", [Box(317, 340, 9, 7), Box(3, 2, 12, 7), Box(600, 352, 40, 8)])
def test_smallest_text_is_found_anywhere(text):
    canvas = empty()
    canvas[text.slices] = 200
    (blob,) = find_blobs(canvas, 153, 89)
    assert blob.box == text
    assert blob.confident


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_specks_are_not_text(seed):
    rng = np.random.default_rng(seed)
    canvas = empty()
    for y in range(0, 350, 48):
        for x in range(0, 630, 64):
            oy, ox = rng.integers(0, 6, 2)
            canvas[y + oy : y + oy + 4, x + ox : x + ox + 4] = 255
    assert find_blobs(canvas, 153, 89) == []


def test_weak_surroundings_of_strong_text_belong_to_it():
    canvas = letters(empty(), Box(200, 300, 200, 16), 110)
    assert not find_blobs(canvas, 153, 89)[0].confident
    letters(canvas, Box(200, 300, 40, 16), 240)
    (blob,) = find_blobs(canvas, 153, 89)
    assert blob.confident
    assert blob.box.width_px >= 190


boxes = st.builds(Box, st.integers(0, 500), st.integers(0, 300), st.integers(30, 140), st.integers(8, 60))
events = st.lists(st.tuples(boxes, st.integers(0, 25), st.integers(2, 12)), max_size=4)


@settings(deadline=None, max_examples=40)
@given(events, st.sampled_from([Size(1280, 720), Size(641, 361), Size(321, 181), Size(97, 55)]))
def test_all_lasting_text_is_covered_and_runs_are_disjoint(shown, picture):
    maps = [empty() for _ in range(40)]
    for box, start, length in shown:
        for canvas in maps[start : start + length]:
            letters(canvas, box)
    runs = find(maps, picture=picture)
    for box, start, length in shown:
        covering = [
            run
            for run in runs
            if run.start_frame <= start * STEP_FRAMES and run.stop_frame > (min(start + length, 40) - 1) * STEP_FRAMES
        ]
        right = box.x_px + (box.width_px - 3) // 8 * 8 + 3
        assert any(
            run.box.x_px * 640 <= box.x_px * picture.width_px
            and run.box.right_px * 640 >= right * picture.width_px
            and run.box.y_px * 360 <= box.y_px * picture.height_px
            and run.box.bottom_px * 360 >= box.bottom_px * picture.height_px
            for run in covering
        )
    for i, run in enumerate(runs):
        assert run.box.clipped(picture) == run.box
        assert 0 <= run.start_frame < run.stop_frame <= 200
        assert not any(run.overlaps(other) and run.box.intersects(other.box) for other in runs[i + 1 :])
    assert all(a.start_frame <= b.start_frame for a, b in pairwise(runs))


runs_strategy = st.lists(st.builds(RegionRun, st.integers(0, 40), st.integers(41, 60), boxes), max_size=12)


@settings(deadline=None)
@given(runs_strategy)
def test_merged_runs_cover_the_same_and_are_disjoint(runs):
    merged = merge_runs(runs)
    for run in runs:
        assert any(
            m.start_frame <= run.start_frame and m.stop_frame >= run.stop_frame and m.box.union(run.box) == m.box
            for m in merged
        )
    assert not any(a.overlaps(b) and a.box.intersects(b.box) for i, a in enumerate(merged) for b in merged[i + 1 :])
    assert merge_runs(merged) == merged


def test_full_mode_takes_the_whole_picture_while_there_is_text():
    maps = [letters(m, TITLE) if 3 <= i < 9 else m for i, m in enumerate(timeline(".####........."))]
    assert find(maps, RegionConfig(mode="full")) == [RegionRun(0, 46, Box(0, 0, 1280, 720))]


def test_fixed_mode_needs_one_scan_and_only_looks_inside():
    box = Box(381, 599, 533, 87)
    config = RegionConfig(mode="fixed", boxes=(box,))
    assert find(timeline("..#...."), config) == [RegionRun(5, 16, box)]
    assert find(timeline("######", TITLE), config) == []
    assert find(timeline("#"), RegionConfig(mode="fixed", boxes=(Box(1000, 0, 900, 900),)))[:1] == []


def test_fixed_box_is_clamped_and_refused_outside():
    config = RegionConfig(mode="fixed", boxes=(Box(-10, 600, 3000, 300),))
    assert find(timeline("##"), config) == [RegionRun(0, 10, Box(0, 600, 1280, 120))]
    for box in (Box(1280, 0, 10, 10), Box(0, 0, 0, 10), Box(5, -20, 10, 20)):
        with pytest.raises(ConfigError, match="1280x720"):
            RegionFinder(RegionConfig(mode="fixed", boxes=(box,)), PICTURE)


def test_scans_out_of_order_or_of_another_size_are_refused():
    finder = RegionFinder(RegionConfig(), PICTURE)
    finder.add(Scan(5, 0, empty()))
    with pytest.raises(ValueError, match="after frame 5"):
        finder.add(Scan(5, 0, empty()))
    with pytest.raises(ValueError, match="640"):
        finder.add(Scan(6, 0, np.zeros((360, 642), np.uint8)))


def test_memory_does_not_grow_and_empty_scans_are_cheap():
    finder, blank, text = RegionFinder(RegionConfig(), PICTURE), empty(), letters(empty(), BAND)
    tracemalloc.start()
    for i in range(400):
        finder.add(Scan(i * STEP_FRAMES, i * STEP_US, text.copy() if i % 40 < 20 else blank))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 200_000 + WORKING.width_px * WORKING.height_px
    fastest = min(_seconds(finder, 400 + i, blank) for i in range(50))
    assert fastest < 1e-3


def _seconds(finder: RegionFinder, i: int, occlusion: np.ndarray) -> float:
    scan, start = Scan(i * STEP_FRAMES, i * STEP_US, occlusion), time.perf_counter()
    finder.add(scan)
    return time.perf_counter() - start


@settings(deadline=None)
@given(st.lists(st.builds(lambda a, n: RegionRun(a, a + n, BAND), st.integers(0, 60), st.integers(1, 20)), max_size=12))
def test_a_timetable_knows_the_runs_of_every_frame(runs):
    table = Timetable(runs)
    for frame in range(0, 90, 2):
        expected = sorted(run for run in runs if run.start_frame <= frame < run.stop_frame)
        assert sorted(table.at(frame)) == expected
