"""Contents that begin in the middle of a video: the same bits from there on, from a state or without one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt import frames
from clear_rt.config import DenoiseConfig, MatteConfig, RegionConfig
from clear_rt.contents import Contents
from clear_rt.contents_state import Start, start_of
from clear_rt.crops import place
from clear_rt.generate import CropGenerator
from clear_rt.leading import Leading
from clear_rt.matting import Matting
from clear_rt.outlining import STILL_FRAMES
from clear_rt.pictures import HostPictures
from clear_rt.regions import RegionRun, Timetable
from clear_rt.report import Stopwatch
from clear_rt.shapes import Box, Size, round_down
from clear_rt.states import StateError, packed, unpacked
from tests.block_engine import BlockEngine, outlining, outlining_twice, spec
from tests.numbered_scene import SIZE, TEXT, numbered_scene

COUNT = 60
ABOVE, ASIDE = Box(40, 10, 100, 10), Box(0, 40, 32, 16)
OVERLAPPING = [RegionRun(0, 40, TEXT), RegionRun(10, 60, ABOVE), RegionRun(45, 46, TEXT), RegionRun(45, 58, ASIDE)]
APART = [RegionRun(3, 20, TEXT), RegionRun(30, 55, TEXT)]


@pytest.fixture(autouse=True)
def states_wherever_asked(monkeypatch):
    """However long one takes."""
    monkeypatch.setattr("clear_rt.contents.STATE_SHARE", float("inf"))


class Half(BlockEngine):
    """Stops half-way, so that noise stays in the picture, and counts the latents that it was shown."""

    def __init__(self):
        super().__init__()
        self.encoded = 0

    def encode(self, frames, caches):
        self.encoded += 1
        return super().encode(frames, caches)

    def velocity(self, latents, control, row):
        return super().velocity(latents, control, row) * np.float32(0.5)


class Secretive:
    """The same, without a way to take out what it keeps."""

    name = "secretive"

    def __init__(self):
        engine = Half()
        self.encode, self.decode, self.occlusion = engine.encode, engine.decode, engine.occlusion
        self.control, self.velocity = engine.control, engine.velocity


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("scene") / "in.mkv"
    return frames.probe(
        numbered_scene(path, COUNT, [(run.start_frame, run.stop_frame, run.box) for run in OVERLAPPING])
    )


@pytest.fixture(scope="module")
def read(scene):
    """Frames can be looked at any number of times."""
    return list(frames.read(scene))


def _undrafted(read):
    def shown(start):
        for frame in read[start.first_crop :]:
            yield frame, None

    return shown


def _contents(info, shown, runs, engine=None, tell=lambda done, total: None, policy="paper", begin=None, **changes):
    """`begin`: the first frame, its state, and what is asked of `Contents` besides; `shown` is told the start."""
    generator = CropGenerator(engine or Half(), spec(**changes), DenoiseConfig(policy=policy, seed=2))
    asked = dict(begin or {})
    start = start_of(generator, info, runs, asked.pop("first_frame", 0), asked.pop("state", None))
    return Contents(info, shown(start), runs, generator, Stopwatch(), tell, start=start, **asked)


def _taken(contents, runs, first=0):
    """What the writing pass gets, as bytes by frame and run."""
    table, found = Timetable(runs), {}
    with contents:
        for index in range(first, COUNT):
            for run in table.at(index):
                found[index, run] = contents.next_of(run).tobytes()
    return found


def _with_states(info, read, runs, state_frames=range(COUNT + 5), **options):
    """What nobody interrupts, and its states by frame."""
    states = {}
    begin = {"state_frames": state_frames, "keep_state": states.__setitem__}
    return _taken(_contents(info, _undrafted(read), runs, begin=begin, **options), runs), states


def _from(found, first):
    return {key: content for key, content in found.items() if key[0] >= first}


@pytest.mark.parametrize("policy", ["paper", "reference", "stream"])
@pytest.mark.parametrize("runs", [OVERLAPPING, APART], ids=["overlapping", "apart"])
def test_from_every_frame_with_a_state_and_without(scene, read, runs, policy):
    found, states = _with_states(scene, read, runs, policy=policy)
    assert [*states] == [
        frame for frame in range(1, COUNT) if any(run.start_frame < frame < run.stop_frame for run in runs)
    ]
    for first in range(COUNT + 1):
        state, engine = states.get(first), Half()
        contents = _contents(
            scene, _undrafted(read), runs, engine, policy=policy, begin={"first_frame": first, "state": state}
        )
        assert _taken(contents, runs, first) == _from(found, first)
        if state is not None and first % 4 == 0:
            again = Half()
            contents = _contents(scene, _undrafted(read), runs, again, policy=policy, begin={"first_frame": first})
            assert _taken(contents, runs, first) == _from(found, first)
            assert again.encoded > engine.encoded


@st.composite
def schedules(draw):
    runs = []
    for box in draw(st.lists(st.sampled_from([TEXT, ABOVE, ASIDE]), min_size=1, max_size=3, unique=True)):
        start = draw(st.integers(0, COUNT - 1))
        runs.append(RegionRun(start, draw(st.integers(start + 1, COUNT)), box))
    return sorted(runs), sorted(draw(st.sets(st.integers(0, COUNT), min_size=1, max_size=4)))


@settings(deadline=None, max_examples=15)
@given(schedules(), st.sampled_from(["paper", "stream"]), st.booleans())
def test_one_segment_after_another_by_as_many_processes(scene, read, schedule, policy, fixed):
    """Each takes the state at the end of its segment, and the next one goes on from that."""
    runs, ends = schedule
    found, _ = _with_states(scene, read, runs, (), policy=policy, latents_fixed=fixed)
    made, first, state = {}, 0, None
    for end in (*ends, COUNT):
        states = {}
        begin = {"first_frame": first, "state": state, "state_frames": [end], "keep_state": states.__setitem__}
        contents = _contents(scene, _undrafted(read), runs, policy=policy, begin=begin, latents_fixed=fixed)
        with contents:
            table = Timetable(runs)
            for index in range(first, end):
                for run in table.at(index):
                    made[index, run] = contents.next_of(run).tobytes()
                    # The state is there before whoever writes can finish the segment.
                    if index == end - 1 and any(other.start_frame < end < other.stop_frame for other in runs):
                        assert end in states
        first, state = end, states.get(end)
    assert made == found


def test_progress_counts_what_was_done_before(scene, read):
    told = []
    _, states = _with_states(scene, read, OVERLAPPING, [12, 50])
    total = None
    for first, state in ((0, None), (12, states[12]), (50, states[50]), (50, None), (60, None)):
        told.append([])
        begin = {"first_frame": first, "state": state}
        contents = _contents(
            scene, _undrafted(read), OVERLAPPING, tell=lambda *counts: told[-1].append(counts), begin=begin
        )
        contents.tell()
        begun = [*told[-1]]
        _taken(contents, OVERLAPPING, first)
        contents.tell()
        total = total or told[-1][-1][1]
        assert told[-1] == [(done, total) for done in range(begun[0][0], total + 1)]
        told[-1] = begun[0][0]
    assert told[0] == 0
    # Without a state the runs under way at 50 are generated once more: the two that ended are done.
    assert 0 < told[3] < told[2] <= told[4] == total
    assert 0 < told[1] < told[2]


def test_states_that_are_damaged_or_of_another_job_are_refused(scene, read):
    _, states = _with_states(scene, read, OVERLAPPING, [12])
    state = states[12]

    def begun(runs=OVERLAPPING, first=12, state=state, engine=None, **options):
        begin = {"first_frame": first, "state": state}
        _contents(scene, _undrafted(read), runs, engine, begin=begin, **options)

    begun()
    for wrong in (state[:-1], state[:50], b"", state[:100] + bytes([state[100] ^ 1]) + state[101:]):
        with pytest.raises(StateError):
            begun(state=wrong)
    for options in (
        {"runs": APART}, {"runs": [*OVERLAPPING[:3]]}, {"first": 13}, {"policy": "stream"}, {"default_steps": 3},
        {"window_latents": 7}, {"latents_fixed": True}, {"engine": Secretive()},
    ):  # fmt: skip
        with pytest.raises(StateError):
            begun(**options)


def test_every_array_of_a_state_is_looked_for(scene, read):
    _, states = _with_states(scene, read, OVERLAPPING, [12])
    arrays = unpacked(states[12])._arrays
    for name in arrays:
        if "/decoding/frame." not in name:
            rest = packed((key, array) for key, array in arrays.items() if key != name)
            with pytest.raises(StateError):
                _contents(scene, _undrafted(read), OVERLAPPING, begin={"first_frame": 12, "state": rest})


def test_engines_that_keep_their_caches_have_no_states_and_begin_again(scene, read):
    found, states = _with_states(scene, read, OVERLAPPING, engine=Secretive())
    assert states == {}
    contents = _contents(scene, _undrafted(read), OVERLAPPING, Secretive(), begin={"first_frame": 21})
    assert _taken(contents, OVERLAPPING, 21) == _from(found, 21)


@pytest.mark.parametrize("first", [0, 1, 11, 20, 47])
@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("looks", [outlining, outlining_twice])
def test_drafts_and_mattes_are_the_same(scene, first, with_state, looks):
    """Crops with their drafts from a leading pass, mattes from a writing one; maps are computed once."""
    working, states, asked = Size(SIZE.width_px, SIZE.height_px), {}, []

    class Asked(Half):
        def occlusion(self, rgb):
            asked.append(1)
            return super().occlusion(rgb)

    def passed(first, **begin):
        engine, mattings = Asked(), []

        def shown(start):
            matting = Matting(
                scene, OVERLAPPING, looks(engine, working), RegionConfig(), MatteConfig(), Stopwatch(),
                first_frame=first, first_crop=start.first_crop,
            )  # fmt: skip
            mattings.append((start, matting))
            return matting.leading()

        begin = {"first_frame": first, **begin}
        contents, found = _contents(scene, shown, OVERLAPPING, engine, draft=True, begin=begin), {}
        ((start, matting),) = mattings
        with contents, closing(matting.writing()) as writing:
            for (frame, active, occlusion), matte, _ in writing:
                made = [contents.next_of(run).tobytes() for run in active]
                found[frame.index] = made, occlusion.tobytes(), matte.tobytes()
        # Where no crop is needed any more nobody leads, and the last maps wait in vain.
        before = 0 if looks is outlining else STILL_FRAMES - 1
        assert len(matting._relay) <= MatteConfig().reach_frames + before
        return found, start.first_crop

    whole, _ = passed(0, state_frames=[first], keep_state=states.__setitem__)
    assert any(matte != bytes(len(matte)) for _, _, matte in whole.values())
    maps, state = len(asked), states.get(first) if with_state else None
    assert (state is not None) == (with_state and first > 0)
    found, crop = passed(first, state=state)
    assert found == {index: made for index, made in whole.items() if index >= first}
    # Of each frame once, from those on that the first matte looks back to.
    earlier = min(first, crop) - MatteConfig().reach_frames
    if looks is outlining_twice:
        earlier = round_down(earlier, STILL_FRAMES)
    spared = sum(max(0, min(run.stop_frame, earlier) - run.start_frame) for run in OVERLAPPING)
    assert len(asked) - maps == maps - spared


@pytest.mark.parametrize("late", [True, False])
def test_crops_before_the_first_one_are_not_cut(read, late):
    cut = []

    class Counting(HostPictures):
        def cut(self, frame, matte, placements):
            cut.extend((frame.index, run) for run in placements)
            return super().cut(frame, matte, placements)

    first_crops = {OVERLAPPING[0]: 25, OVERLAPPING[1]: 60} if late else {}
    placements = {run: place(run.box, SIZE, 16, 1 << 20, ()) for run in OVERLAPPING}
    with closing(
        Leading(_undrafted(read)(Start()), Path("in.mkv"), placements, 2, Counting(), Stopwatch(), None, first_crops)
    ) as leading:
        for run in OVERLAPPING:
            begin = first_crops.get(run, run.start_frame)
            crops = list(leading.crops(run))
            assert len(crops) == run.stop_frame - begin
            for index, crop in enumerate(crops, start=begin):
                expected = placements[run].cut(read[index].rgb(SIZE.height_px, SIZE.width_px, exact=True))
                np.testing.assert_array_equal(crop, expected)
        assert leading.waiting_crops == 0
    assert sorted(cut) == sorted(
        (index, run) for run in OVERLAPPING for index in range(first_crops.get(run, run.start_frame), run.stop_frame)
    )
