"""Interrupted removals with a generator go on where they were: the same bytes, and little of the work done twice."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial

import av
import pytest

from clear_rt import frames
from clear_rt.config import CompositeConfig
from clear_rt.propagating import packed_known, unpacked_known
from clear_rt.remover import Remover
from tests.block_engine import BlockEngine, bundle, spec
from tests.numbered_scene import SIZE, TEXT, numbered_scene
from tests.test_remover_model import _config

SEGMENT_FRAMES, FRAMES = 40, 106
# Text that is always there, and lines that come and go over the ends of segments.
ALWAYS = ((0, 1 << 30, TEXT),)
LINES = tuple((start, start + 20, TEXT) for start in range(5, FRAMES, 30))
PAPER, STREAM, DRAFT = {}, {"policy": "stream", "steps": 3}, {"draft": True}
CASES = [
    *((PAPER, cuts) for cuts in ((10,), (50,), (95, 105), (42, 46, 95))),
    *((options, cuts) for options in (STREAM, DRAFT) for cuts in ((50,), (42, 46, 95))),
]


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    """Ten seconds of video a segment would make these tests as slow; states are taken at all of their ends."""
    monkeypatch.setattr("clear_rt.contents.STATE_SHARE", float("inf"))
    monkeypatch.setattr(frames, "SegmentedWriter", partial(frames.SegmentedWriter, segment_frames=SEGMENT_FRAMES))


def removed(source, target, *, at=None, engine=None, **options):
    """Whole, or interrupted after the frame `at` was handed to the encoder."""

    def progress(phase, done, total):
        if phase == "removing" and done == at:
            raise KeyboardInterrupt

    generator = {name: options.pop(name) for name in ("draft",) if name in options}
    remover = Remover(_config("membrane", **options), bundle=bundle(spec(**generator)), engine=engine or BlockEngine())
    return remover(source, target, progress)


def packets(path):
    """All that is in the file but for Matroska's random name of it."""
    with av.open(str(path)) as container:
        return [(packet.pts, packet.duration, bytes(packet)) for packet in container.demux() if packet.size]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module", params=[ALWAYS, LINES], ids=["always", "lines"])
def scene(request, tmp_path_factory):
    return numbered_scene(tmp_path_factory.mktemp("scene") / "in.mkv", FRAMES, request.param, size=SIZE)


@pytest.mark.parametrize(("options", "cuts"), CASES, ids=str)
def test_the_result_is_that_of_a_run_that_was_not_interrupted(scene, tmp_path, cuts, options):
    whole = removed(scene, tmp_path / "whole.mkv", **options)
    target = tmp_path / "out.mkv"
    for at in cuts:
        with pytest.raises(KeyboardInterrupt):
            removed(scene, target, at=at, **options)
        assert not target.exists()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("clear_rt")]
    engine = BlockEngine()
    report = removed(scene, target, engine=engine, **options)
    assert packets(target) == packets(tmp_path / "whole.mkv")
    assert names(tmp_path) == ["out.mkv", "whole.mkv"]
    assert (report.frames, report.frames_changed, report.runs) == (FRAMES, whole.frames_changed, whole.runs)
    assert report.frames_resumed == max(at // SEGMENT_FRAMES * SEGMENT_FRAMES for at in cuts)


def test_what_is_finished_is_not_generated_again(tmp_path):
    """Of 27 latents 20 are finished with the second segment; two windows are under way."""
    scene, target = numbered_scene(tmp_path / "in.mkv", FRAMES, ALWAYS, size=SIZE), tmp_path / "out.mkv"
    engines = BlockEngine(), BlockEngine()
    removed(scene, tmp_path / "whole.mkv", engine=engines[0])
    with pytest.raises(KeyboardInterrupt):
        removed(scene, target, at=95)
    removed(scene, target, engine=engines[1])
    whole, again = (engine.velocities for engine in engines)
    assert again < 0.6 * whole
    assert len(engines[1].encoded_shapes) < 0.6 * len(engines[0].encoded_shapes)


def test_a_damaged_state_costs_time_and_nothing_else(tmp_path):
    scene, target = numbered_scene(tmp_path / "in.mkv", FRAMES, ALWAYS, size=SIZE), tmp_path / "out.mkv"
    removed(scene, tmp_path / "whole.mkv")
    with pytest.raises(KeyboardInterrupt):
        removed(scene, target, at=95)
    states = sorted((tmp_path / ".out.mkv.clear_rt-work").glob("*-model.stored"))
    assert states
    for state in states:
        data = bytearray(state.read_bytes())
        data[len(data) // 2] ^= 1
        state.write_bytes(data)
    report = removed(scene, target)
    assert packets(target) == packets(tmp_path / "whole.mkv")
    assert report.frames_resumed == 80


@pytest.mark.parametrize("fill", ["model", "membrane"])
@pytest.mark.parametrize("harm", ["damaged", "missing", "another's"])
def test_what_was_known_behind_text_is_worked_out_again_where_it_is_lost(tmp_path, harm, fill):
    source = numbered_scene(tmp_path / "in.mkv", FRAMES, ALWAYS, size=SIZE)
    whole, target = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    config = replace(_config("membrane"), composite=CompositeConfig(fill=fill))

    def remove(into, progress=None):
        return Remover(config, bundle=bundle(spec()), engine=BlockEngine())(source, into, progress)

    def interrupt(phase, done, total):
        if phase == "removing" and done == 100:
            raise KeyboardInterrupt

    remove(whole)
    with pytest.raises(KeyboardInterrupt):
        remove(target, interrupt)
    *_, last = sorted((tmp_path / ".out.mkv.clear_rt-work").glob("*-known.stored"))
    data = last.read_bytes()
    if harm == "missing":
        last.unlink()
    else:
        last.write_bytes(data[:-9] if harm == "damaged" else packed_known(7, unpacked_known(data, 2 * SEGMENT_FRAMES)))
    report = remove(target)
    assert packets(target) == packets(whole)
    assert report.frames_resumed == 2 * SEGMENT_FRAMES


def test_states_of_long_ago_are_let_go(tmp_path):
    scene, target = numbered_scene(tmp_path / "in.mkv", 240, ALWAYS, size=SIZE), tmp_path / "out.mkv"
    with pytest.raises(KeyboardInterrupt):
        removed(scene, target, at=235)
    kept = {path.name for path in (tmp_path / ".out.mkv.clear_rt-work").glob("*-model.stored")}
    assert 1 <= len(kept) <= 3
    assert "000000-model.stored" not in kept


def test_whoever_watches_sees_every_frame_of_a_resumed_run(tmp_path):
    scene, target = numbered_scene(tmp_path / "in.mkv", FRAMES, LINES, size=SIZE), tmp_path / "out.mkv"
    removed(scene, tmp_path / "whole.mkv")
    with pytest.raises(KeyboardInterrupt):
        removed(scene, target, at=50)
    seen = []
    remover = Remover(_config("membrane"), bundle=bundle(spec()), engine=BlockEngine())
    remover(scene, target, observe=lambda cleaned: seen.append(cleaned.source.index))
    assert seen == list(range(FRAMES))
    assert packets(target) == packets(tmp_path / "whole.mkv")
