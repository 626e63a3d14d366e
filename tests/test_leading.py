"""The leading pass: every run gets its own crops in order, whoever asks first, and nothing stays that is not needed."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.crops import place
from clear_rt.draft import draft
from clear_rt.errors import InputError
from clear_rt.leading import Leading
from clear_rt.pictures import HostPictures
from clear_rt.regions import RegionRun
from clear_rt.report import Stopwatch
from clear_rt.shapes import Box, Size
from clear_rt.threads import Stop, Stopped

PICTURE = Size(40, 24)
BOXES = [Box(0, 0, 8, 8), Box(16, 8, 16, 8), Box(8, 16, 32, 8)]
TOTAL = 40


class Numbered:
    """A frame whose pixels say which it is, and how often it was converted."""

    def __init__(self, index):
        self.index = index
        self.conversions = []
        self.exact = False

    def rgb(self, height_px, width_px, *, exact=False):
        self.exact = exact
        self.conversions.append((height_px, width_px))
        columns = np.arange(width_px) ** 2 % 251
        return np.stack(
            np.broadcast_arrays(columns, np.uint8(self.index), np.arange(height_px)[:, None]), axis=2
        ).astype(np.uint8)


class Video:
    """`total` frames, all of one matte, and what became of the pass over them."""

    def __init__(self, total=TOTAL, fail_at=None, matte=None):
        self.total, self.fail_at, self.matte = total, fail_at, matte
        self.frames = []
        self.closed = False

    def read(self):
        try:
            for index in range(self.total):
                if index == self.fail_at:
                    raise InputError("in.mkv is damaged; copy it again")
                self.frames.append(Numbered(index))
                yield self.frames[-1], self.matte
        finally:
            self.closed = True


def _leading(video, runs, max_pixels=1 << 20, depth_frames=2):
    placements = {run: place(run.box, PICTURE, 8, max_pixels, ()) for run in runs}
    return Leading(video.read(), Path("in.mkv"), placements, depth_frames, HostPictures(), Stopwatch()), placements


def _assert_crop(crop, index, placement):
    expected = placement.cut(Numbered(index).rgb(placement.scaled.height_px, placement.scaled.width_px))
    np.testing.assert_array_equal(crop, expected)


@st.composite
def schedules(draw):
    """Runs that may share frames, and an order in which their crops are asked for."""
    runs = []
    for box in draw(st.lists(st.sampled_from(BOXES), min_size=1, max_size=3, unique=True)):
        start = draw(st.integers(0, TOTAL - 1))
        runs.append(RegionRun(start, draw(st.integers(start + 1, TOTAL)), box))
    asked = [run for run in runs for _ in range(run.stop_frame - run.start_frame)]
    return runs, draw(st.permutations(asked))


@settings(deadline=None, max_examples=60)
@given(schedules(), st.sampled_from([1 << 20, 64]))
def test_every_run_gets_its_own_crops_in_any_order_of_asking(schedule, max_pixels):
    runs, asked = schedule
    video = Video()
    leading, placements = _leading(video, runs, max_pixels)
    crops = {run: leading.crops(run) for run in runs}
    next_index = {run: run.start_frame for run in runs}
    for run in asked:
        _assert_crop(next(crops[run]), next_index[run], placements[run])
        next_index[run] += 1
    assert all(next(iterator, None) is None for iterator in crops.values())
    assert leading.waiting_crops == 0
    leading.close()
    assert video.closed
    assert len(video.frames) <= max(run.stop_frame for run in runs) + 1


def test_only_crops_of_other_runs_wait_and_only_as_long_as_they_must():
    runs = [RegionRun(0, 40, BOXES[0]), RegionRun(10, 30, BOXES[1])]
    leading, _ = _leading(Video(), runs)
    first, second = (leading.crops(run) for run in runs)
    for index in range(20):
        next(first)
        assert leading.waiting_crops == max(0, index + 1 - 10)
    for left in range(9, -1, -1):
        next(second)
        assert leading.waiting_crops == left
    leading.close()


def test_a_frame_is_converted_once_for_all_its_runs_and_not_at_all_without_one():
    video = Video()
    runs = [RegionRun(5, 10, BOXES[0]), RegionRun(5, 12, BOXES[1])]
    leading, _ = _leading(video, runs)
    for crops in [leading.crops(run) for run in runs]:
        list(crops)
    leading.close()
    for frame in video.frames:
        expected = [(PICTURE.height_px, PICTURE.width_px)] if 5 <= frame.index < 12 else []
        assert frame.conversions == expected
        assert frame.exact == bool(expected)


def test_a_video_that_has_become_shorter_is_an_error():
    leading, _ = _leading(Video(total=12), [RegionRun(3, 20, BOXES[0])])
    crops = leading.crops(RegionRun(3, 20, BOXES[0]))
    for _ in range(3, 12):
        next(crops)
    with pytest.raises(InputError, match="now ends before frame 12"):
        next(crops)
    leading.close()


def test_an_error_of_the_decoder_arrives_in_its_place():
    video = Video(fail_at=7)
    run = RegionRun(0, 20, BOXES[0])
    leading, _ = _leading(video, [run])
    crops = leading.crops(run)
    for _ in range(7):
        next(crops)
    with pytest.raises(InputError, match="damaged"):
        next(crops)
    leading.close()
    assert video.closed


@pytest.mark.parametrize("asked", [0, 1, 5])
def test_closing_early_ends_the_thread_and_the_decoder(asked):
    video, run = Video(total=10_000), RegionRun(0, 10_000, BOXES[0])
    leading, _ = _leading(video, [run])
    crops = leading.crops(run)
    for _ in range(asked):
        next(crops)
    leading.close()
    assert video.closed or not video.frames
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clear_rt")]
    assert len(video.frames) <= asked + 2 + 2


@pytest.mark.parametrize("max_pixels", [1 << 20, 64])
def test_frames_with_mattes_give_drafts(max_pixels):
    """A matte at half the picture's size: the draft differs from the crop there and nowhere else."""
    matte = np.zeros((12, 20), np.uint8)
    matte[5:7, 9:11] = 255
    run = RegionRun(3, 9, Box(16, 8, 16, 8))
    leading, placements = _leading(Video(matte=matte), [run], max_pixels)
    placement = placements[run]
    alpha = placement.cut_alpha(matte)
    assert alpha.shape == (placement.profile.height_px, placement.profile.width_px)
    assert (alpha == 255).any()
    for index, drafted in enumerate(leading.crops(run), start=3):
        crop = placement.cut(Numbered(index).rgb(placement.scaled.height_px, placement.scaled.width_px))
        np.testing.assert_array_equal(drafted, draft(crop, alpha))
        differs = (drafted != crop).any(axis=2)
        assert differs.any()
        assert not (differs & (alpha == 0)).any()
    leading.close()


def _at_once(work, runs):
    """What `work` returns or raises for every run, each on a thread of its own, all at the same time."""
    found, ready = {}, threading.Barrier(len(runs))

    def one(run):
        ready.wait()
        try:
            found[run] = work(run)
        except InputError as error:
            found[run] = error

    threads = [threading.Thread(target=one, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


TOGETHER = [RegionRun(0, 40, BOXES[0]), RegionRun(5, 30, BOXES[1]), RegionRun(20, 38, BOXES[2])]


@pytest.mark.parametrize("depth_frames", [1, 4])
@pytest.mark.parametrize("workers", [1, 3])
def test_runs_that_are_read_at_the_same_time(monkeypatch, depth_frames, workers):
    monkeypatch.setattr("clear_rt.leading.spare_workers", lambda: workers)
    video = Video()
    leading, placements = _leading(video, TOGETHER, depth_frames=depth_frames)
    found = _at_once(lambda run: list(leading.crops(run)), TOGETHER)
    for run in TOGETHER:
        assert len(found[run]) == run.stop_frame - run.start_frame
        for index, crop in enumerate(found[run], start=run.start_frame):
            _assert_crop(crop, index, placements[run])
    assert leading.waiting_crops == 0
    leading.close()
    assert all(len(frame.conversions) == 1 for frame in video.frames)


@pytest.mark.parametrize(
    ("video", "words"), [(Video(fail_at=25), "damaged"), (Video(total=25), "now ends before frame 25")]
)
def test_what_goes_wrong_reaches_every_run_that_lacks_crops(video, words):
    leading, _ = _leading(video, TOGETHER)
    found = _at_once(lambda run: list(leading.crops(run)), TOGETHER)
    for run in TOGETHER:
        assert isinstance(found[run], InputError)
        assert words in str(found[run])
    leading.close()
    assert video.closed


def test_a_run_that_has_crops_does_not_wait_for_one_that_reads_on():
    """The video hangs after frame 10 until the second run has its crops of the frames before."""
    release, runs = threading.Event(), [RegionRun(0, 20, BOXES[0]), RegionRun(5, 20, BOXES[1])]

    class Hanging(Video):
        def read(self):
            for item in super().read():
                if item[0].index == 10:
                    assert release.wait(60), "the second run waited, too"
                yield item

    leading, placements = _leading(Hanging(), runs)
    first, second = (leading.crops(run) for run in runs)
    for _ in range(10):
        next(first)
    reading = threading.Thread(target=next, args=(first,))
    reading.start()
    for index in range(5, 10):
        _assert_crop(next(second), index, placements[runs[1]])
    release.set()
    reading.join()
    leading.close()


def test_stop_ends_the_threads_of_a_run_that_waits_for_its_crops():
    stop = Stop()

    class Hanging(Video):
        def read(self):
            for item in super().read():
                yield item
                stop.wait()

    run = RegionRun(0, 20, BOXES[0])
    placements = {run: place(run.box, PICTURE, 8, 1 << 20, ())}
    leading = Leading(Hanging().read(), Path("in.mkv"), placements, 2, HostPictures(), Stopwatch(), stop)
    crops = leading.crops(run)
    next(crops)
    threading.Timer(0.01, stop.set).start()
    with pytest.raises(Stopped):
        list(crops)
    leading.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clear_rt")]
