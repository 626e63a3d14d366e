"""The main job with a generator: every frame gets what was generated from it, and nothing outside its text changes.

The scenes' brightness says which frame it is, and the block engine answers with the inverse of what it was shown, so a
generated frame in another's place cannot go unseen.
"""

from __future__ import annotations

import signal
import threading
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clear_rt import frames
from clear_rt.config import CompositeConfig, DenoiseConfig, MatteConfig, RegionConfig, RunConfig, WriteConfig
from clear_rt.crops import Placement, place
from clear_rt.errors import ConfigError, EngineError, OutputError
from clear_rt.matte_planes import alpha_for, luma_alpha
from clear_rt.remover import Remover
from clear_rt.shapes import Box, Size, plane_box, whole
from clear_rt.threads import Stop
from tests.block_engine import BlockEngine, answer, bundle, spec
from tests.numbered_scene import SIZE, TEXT, numbered_scene


def _config(mode="off", region=None, **denoise):
    return RunConfig(
        region=region or RegionConfig(),
        # Blocks need no hysteresis: the engine's maps are certain.
        matte=MatteConfig(reach_frames=1, least_frames=1),
        composite=CompositeConfig(fill="model", mode=mode),
        write=WriteConfig(lossless=True),
        denoise=DenoiseConfig(**denoise),
    )


def _remove(source, target, config=None, engine=None, observe=None, **changes):
    remover = Remover(config or _config(), bundle=bundle(spec(**changes)), engine=engine or BlockEngine())
    return remover(source, target, observe=observe)


class Counting(BlockEngine):
    """Counts the maps asked for."""

    def __init__(self):
        super().__init__()
        self._maps = []

    def occlusion(self, rgb):
        # Two passes call this, each on a thread of its own: appending is atomic, += is not.
        self._maps.append(1)
        return super().occlusion(rgb)

    @property
    def maps(self):
        return len(self._maps)


def _generated_from(frame, run, picture, generator):
    """What belongs into `run.box` of a frame, as samples of its planes."""
    placement = place(run.box, picture, generator.multiple_px, generator.max_pixels, generator.profiles)
    crop = placement.cut(frame.rgb(placement.scaled.height_px, placement.scaled.width_px, exact=True))
    return frame.samples_of(placement.restore(answer(crop).astype(np.float32)), run.box)


def _assert_regions_are_generated(source, target, report, **changes):
    """With --composite off: every frame of a run holds what was generated from that very frame, to rounding."""
    info, generator = frames.probe(source), spec(**changes)
    picture = Size(info.width_px, info.height_px)
    count = 0
    for was, now in zip(frames.read(source), frames.read(target), strict=True):
        untouched = [np.ones(plane.samples.shape, bool) for plane in was.planes]
        for run in report.runs:
            if not run.start_frame <= was.index < run.stop_frame:
                continue
            count += 1
            for plane, free, expected in zip(
                now.planes, untouched, _generated_from(was, run, picture, generator), strict=True
            ):
                inner = plane_box(run.box, plane.step_x_px, plane.step_y_px).slices
                found = (plane.samples[inner] >> plane.shift).astype(float)
                limit = 2**plane.bits - 1
                # Half a code of rounding, and what fp32 leaves over.
                assert np.abs(found - np.clip(expected, 0, limit)).max() <= 0.52 * 2 ** (plane.bits - 8), was.index
                free[inner] = False
        for before, after, free in zip(was.planes, now.planes, untouched, strict=True):
            np.testing.assert_array_equal(before.samples[free], after.samples[free])
    assert count == sum(run.stop_frame - run.start_frame for run in report.runs) > 0


@pytest.mark.parametrize("policy", ["paper", "reference", "stream"])
def test_every_frame_of_a_run_gets_its_own_content(tmp_path, policy):
    source = numbered_scene(tmp_path / "in.mkv", 60, [(7, 52, TEXT)])
    report = _remove(source, tmp_path / "out.mkv", _config(policy=policy, steps=3))
    assert report.frames == 60
    (run,) = report.runs
    assert run.start_frame <= 7
    assert run.stop_frame >= 52
    _assert_regions_are_generated(source, tmp_path / "out.mkv", report)
    assert (report.policy, report.steps, report.seed, report.notes) == (policy, 3, 0, ())
    assert report.windows >= {"paper": 3, "stream": 3, "reference": 1}[policy]
    assert {"encode latents", "denoise", "decode latents", "lead: decode"} <= set(report.stage_seconds)


def test_what_is_kept_is_kept_without_a_composite(tmp_path):
    """An odd box in the middle of the text: chroma samples that any of its pixels shares are the source's, too."""
    source, keep = numbered_scene(tmp_path / "in.mkv", 12, [(0, 12, TEXT)]), Box(TEXT.x_px + 11, TEXT.y_px + 1, 21, 7)
    report = _remove(source, tmp_path / "out.mkv", _config(region=RegionConfig(keep=(keep,))))
    (run,) = report.runs
    inside = 0
    for was, now in zip(frames.read(source), frames.read(tmp_path / "out.mkv"), strict=True):
        for before, after in zip(was.planes, now.planes, strict=True):
            box = plane_box(keep, before.step_x_px, before.step_y_px).slices
            np.testing.assert_array_equal(before.samples[box], after.samples[box])
        text = plane_box(run.box, 1, 1).slices
        inside += int((was.planes[0].samples[text] != now.planes[0].samples[text]).sum())
    assert inside > 0


@pytest.mark.parametrize("mode", ["membrane", "paste"])
def test_nothing_outside_the_matte_changes(tmp_path, mode):
    source, seen = numbered_scene(tmp_path / "in.mkv", 40, [(5, 36, TEXT)], pixel_format="yuv420p"), []
    report = _remove(
        source, tmp_path / "out.mkv", _config(mode), observe=lambda cleaned: seen.append(cleaned.matte.copy())
    )
    assert 31 <= report.frames_changed <= 40
    changed = 0
    for matte, was, now in zip(seen, frames.read(source), frames.read(tmp_path / "out.mkv"), strict=True):
        luma = luma_alpha(matte, SIZE, whole(SIZE))
        for before, after in zip(was.planes, now.planes, strict=True):
            alpha = alpha_for(luma, whole(SIZE), before.step_x_px, before.step_y_px, spread=before.kind == "chroma")
            differs = before.samples != after.samples
            assert not (differs & (alpha == 0)).any()
            changed += differs.any()
        if mode == "paste":
            # The inverse of white is black: text turns into it and into nothing else.
            text = now.planes[0].samples[TEXT.slices]
            assert was.index < 5 or was.index >= 36 or text.mean() < 200
    assert changed


def test_the_membrane_puts_the_sources_brightness_under_the_text(tmp_path):
    """The generated box is a slope of its own brightness; shifted to meet the source it is the source's."""
    source = numbered_scene(tmp_path / "in.mkv", 30)
    clean = numbered_scene(tmp_path / "clean.mkv", 30, [])

    class Even(BlockEngine):
        def decode(self, latent, caches):
            answered, caches = super().decode(latent, caches)
            return np.full_like(answered, 0.5), caches

    _remove(source, tmp_path / "out.mkv", _config("membrane"), Even())
    for now, truth in zip(frames.read(tmp_path / "out.mkv"), frames.read(clean), strict=True):
        found, expected = (frame.planes[0].samples[TEXT.slices].astype(float) for frame in (now, truth))
        assert np.abs(found - expected).max() <= 2


@pytest.mark.parametrize("policy", ["paper", "stream"])
def test_a_generator_of_drafts_is_shown_what_the_membrane_makes_of_every_frame(tmp_path, policy):
    """Without text the scenes are smooth: so are their drafts, and the inverse of these. Maps are computed once."""
    source = numbered_scene(tmp_path / "in.mkv", 60, [(7, 52, TEXT)])
    clean = numbered_scene(tmp_path / "clean.mkv", 60, [])
    maps = {}
    for has_draft in (True, False):
        engine, config = Counting(), _config("paste", policy=policy)
        config = replace(config, composite=replace(config.composite, propagate="off"))
        _remove(source, tmp_path / f"{has_draft}.mkv", config, engine, draft=has_draft)
        maps[has_draft] = engine.maps
    for truth, shown, unshown in zip(
        *(frames.read(p) for p in (clean, *(tmp_path / f"{x}.mkv" for x in (True, False)))), strict=True
    ):
        if 8 <= truth.index < 51:
            inverse = 255 - truth.planes[0].samples[TEXT.slices].astype(float)
            assert np.abs(shown.planes[0].samples[TEXT.slices] - inverse).mean() < 6
            assert np.abs(unshown.planes[0].samples[TEXT.slices] - inverse).mean() > 20
    assert maps[True] == maps[False]


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        ([(0, 20, TEXT)], 40),
        ([(20, 40, TEXT)], 40),
        ([(0, 40, TEXT), (10, 30, Box(40, 10, 100, 10))], 40),
        ([(0, 25, Box(40, 10, 100, 10)), (12, 40, TEXT)], 40),
        ([(0, 1, TEXT)], 1),
        ([(0, 2, TEXT)], 2),
        ([(3, 12, TEXT), (30, 39, TEXT)], 45),
    ],
    ids=["start", "end", "inside another", "overlapping", "one frame", "two frames", "one after another"],
)
@pytest.mark.parametrize("fixed", [False, True])
def test_runs_in_every_place(tmp_path, texts, count, fixed):
    source = numbered_scene(tmp_path / "in.mkv", count, texts)
    engine = BlockEngine()
    report = _remove(source, tmp_path / "out.mkv", engine=engine, latents_fixed=fixed)
    assert len(report.runs) == len(texts)
    _assert_regions_are_generated(source, tmp_path / "out.mkv", report)
    assert report.windows == len(engine.window_latents)
    short = sum(run.stop_frame - run.start_frame <= 13 for run in report.runs)
    assert report.runs_short == short
    assert len(report.notes) == (fixed and bool(short))
    if report.notes:
        assert report.notes[0].startswith(f"{short} of {len(texts)} run")
    if fixed:
        assert set(engine.window_latents) == {5}


@pytest.mark.parametrize(
    ("size", "pixel_format"),
    [
        (Size(191, 127), "yuv420p"),
        (Size(193, 128), "yuv422p10le"),
        (Size(192, 129), "gray"),
        (Size(192, 128), "bgr0"),
        (Size(152, 112), "yuv410p"),
    ],
)
@pytest.mark.parametrize("region", ["auto", "full", "fixed"])
def test_odd_sizes_and_formats(tmp_path, size, pixel_format, region):
    """A fixed region begins and ends at odd pixels."""
    source = numbered_scene(tmp_path / "in.mkv", 10, size=size, pixel_format=pixel_format)
    config = RegionConfig(mode=region, boxes=(Box(31, 85, 115, 25),) if region == "fixed" else ())
    report = _remove(source, tmp_path / "out.mkv", _config(region=config))
    if region == "fixed":
        assert (report.runs[0].box,) == config.boxes
    if region == "full":
        assert report.runs[0].box == whole(size)
    _assert_regions_are_generated(source, tmp_path / "out.mkv", report)


@pytest.mark.parametrize(
    "changes", [{"max_pixels": 2048}, {"profiles": (Size(48, 16), Size(96, 16))}, {"profiles": (Size(512, 256),)}]
)
def test_regions_are_scaled_to_the_bundle(tmp_path, changes):
    source = numbered_scene(tmp_path / "in.mkv", 20)
    engine = BlockEngine()
    report = _remove(source, tmp_path / "out.mkv", engine=engine, **changes)
    _assert_regions_are_generated(source, tmp_path / "out.mkv", report, **changes)
    (shape,) = {shape[2:] for shape in engine.encoded_shapes}
    if "max_pixels" in changes:
        assert shape[0] * shape[1] <= changes["max_pixels"]
    else:
        assert Size(shape[1], shape[0]) in changes["profiles"]
    assert report.regions_scaled == ((512, 256) not in changes.get("profiles", ()))


class Mirror(BlockEngine):
    """Answers with the very frames it was shown: one run at a time."""

    def __init__(self):
        super().__init__()
        self._shown = []

    def encode(self, frames, caches):
        self._shown.append(frames)
        return super().encode(frames, caches)

    def decode(self, latent, caches):
        return self._shown.pop(0), super().decode(latent, caches)[1]


@pytest.mark.parametrize("size", [Size(192, 128), Size(191, 127)], ids=["even", "odd"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_a_model_that_changes_nothing_leaves_brightness_and_colour_in_their_place(tmp_path, pixel_format, size):
    """Codes of 8 bits: the rounding of RGB, at most 0.5, and of the result, as much again; chroma is interpolated and
    averaged besides. Conversions that cut off darken luma by 0.9, chroma that is stretched is 2 off at the edge. Not
    counted within 8 pixels of the text, at whose edges the scene's chroma has no place in RGB.
    """
    source = numbered_scene(tmp_path / "in.mkv", 10, size=size, pixel_format=pixel_format)
    report = _remove(source, tmp_path / "out.mkv", _config(region=RegionConfig(mode="full")), Mirror())
    assert report.runs[0].box == whole(size)
    for was, now in zip(frames.read(source), frames.read(tmp_path / "out.mkv"), strict=True):
        for before, after in zip(was.planes, now.planes, strict=True):
            rows = np.r_[
                : (TEXT.y_px - 8) // before.step_y_px, (TEXT.bottom_px + 8) // before.step_y_px : len(before.samples)
            ]
            error = ((after.samples.astype(float) - before.samples) / 2 ** (before.bits - 8))[rows]
            assert abs(error.mean()) <= 0.2, before.kind
            assert np.abs(error).max() <= 1, before.kind


def test_turned_pictures(tmp_path):
    """Stored on its side, so the text is drawn there too: upright it is a tall box."""
    turn = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    source = numbered_scene(tmp_path / "in.mkv", 20, matrix=turn, pixel_format="yuv422p")
    assert frames.probe(source).rotation_degrees != 0
    report = _remove(source, tmp_path / "out.mkv")
    assert report.runs[0].box.height_px > report.runs[0].box.width_px
    _assert_regions_are_generated(source, tmp_path / "out.mkv", report)


def test_a_file_without_text_is_copied_and_no_model_runs(tmp_path):
    engine = BlockEngine()
    report = _remove(numbered_scene(tmp_path / "in.mkv", 12, []), tmp_path / "out.mkv", engine=engine)
    assert report.video_copied
    assert (report.windows, report.regions_scaled, report.notes) == (0, 0, ())
    assert (report.policy, report.steps) == ("paper", 2)
    assert engine.encoded_shapes == []


def test_the_same_seed_gives_the_same_file(tmp_path):
    class Noisy(BlockEngine):
        """Stops half-way, so that noise is left in the picture."""

        def velocity(self, latents, control, row):
            return super().velocity(latents, control, row) * np.float32(0.5)

    source = numbered_scene(tmp_path / "in.mkv", 25)
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        _remove(source, tmp_path / f"{name}.mkv", _config(seed=seed), Noisy())
        results.append([frame.planes[0].samples.copy() for frame in frames.read(tmp_path / f"{name}.mkv")])
    assert all(np.array_equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(results[0], results[2], strict=True))


def _most_live_crops(monkeypatch, source, target, **changes):
    """Crops that were alive at once, counted as they come and go."""
    live, most = Counter(), Counter()
    cut = Placement.cut

    def counted(self, rgb):
        crop = cut(self, rgb)
        live["crops"] += 1
        most["crops"] = max(most["crops"], live["crops"])
        weakref.finalize(crop, live.subtract, ["crops"])
        return crop

    with monkeypatch.context() as patched:
        patched.setattr(Placement, "cut", counted)
        report = _remove(source, target, **changes)
    assert live["crops"] == 0
    return most["crops"], report


def test_memory_does_not_grow_with_a_run(tmp_path, monkeypatch):
    """Ahead of the engine wait as many crops as a window makes final at once, of 5 latents 20; besides, one was just
    taken out, a group of four is being converted, and the last of the group before is still in hand.
    """
    for count in (60, 240):
        source = numbered_scene(tmp_path / f"in{count}.mkv", count)
        most, report = _most_live_crops(monkeypatch, source, tmp_path / f"out{count}.mkv")
        assert report.runs[0].stop_frame == count
        assert most <= 20 + 1 + 4 + 1


def test_memory_of_simultaneous_runs_is_that_of_the_windows_ahead(tmp_path, monkeypatch):
    """While one run's windows are filled the other's crops wait: with 2 steps those of two windows, 32 frames, and of
    two groups of four that are converted before the engine asks for them.
    """
    texts = [(0, 1 << 30, TEXT), (0, 1 << 30, Box(40, 10, 100, 10))]
    for count in (60, 240):
        source = numbered_scene(tmp_path / f"in{count}.mkv", count, texts)
        most, report = _most_live_crops(monkeypatch, source, tmp_path / f"out{count}.mkv")
        assert len(report.runs) == 2
        assert most <= 32 + 2 * 4 + 2 * (20 + 1 + 4 + 1)


@pytest.mark.parametrize("fail_after_steps", [0, 9])
def test_an_engine_that_fails_leaves_nothing(tmp_path, fail_after_steps, monkeypatch):
    source, closed = numbered_scene(tmp_path / "in.mkv", 150), []
    read = frames.read

    def watched(info):
        closed.append(False)
        number = len(closed) - 1
        try:
            yield from read(info)
        finally:
            closed[number] = True

    monkeypatch.setattr(frames, "read", watched)
    folder = tmp_path / "target"
    folder.mkdir()
    with pytest.raises(EngineError, match="as it was told to"):
        _remove(source, folder / "out.mkv", engine=BlockEngine(fail_after_steps))
    assert closed == [True, True, True]
    assert not list(folder.iterdir())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clear_rt")]


def test_progress_counts_the_steps_of_all_windows(tmp_path):
    source, told = numbered_scene(tmp_path / "in.mkv", 40), []
    engine = BlockEngine()
    remover = Remover(_config(steps=3), bundle=bundle(), engine=engine)
    report = remover(source, tmp_path / "out.mkv", lambda *heard: told.append(heard))
    generating = [counts for phase, *counts in told if phase == "generating"]
    assert generating == [[done, 3 * report.windows] for done in range(3 * report.windows + 1)]
    assert engine.velocities == 3 * report.windows


@pytest.mark.parametrize("options", [{"steps": 7}, {"noise": Path("missing.npy")}])
def test_what_does_not_fit_is_refused_before_an_engine_is_opened(monkeypatch, options):
    monkeypatch.setattr("clear_rt.remover.open_engine", lambda *given, **named: pytest.fail("opened"))
    with pytest.raises(ConfigError):
        Remover(_config(**options), bundle=bundle())


@pytest.mark.parametrize("fill", ["model", "membrane"])
def test_the_engine_is_told_whether_a_model_will_run(monkeypatch, fill):
    heard = []
    monkeypatch.setattr(
        "clear_rt.remover.open_engine", lambda name, opened, **named: heard.append(named) or BlockEngine()
    )
    Remover(RunConfig(composite=CompositeConfig(fill=fill)), bundle=bundle())
    assert heard == [{"generates": fill == "model", "kernels": "auto"}]


def test_an_interrupt_leaves_what_was_found_and_no_thread(tmp_path):
    source, folder = numbered_scene(tmp_path / "in.mkv", 150), tmp_path / "target"
    folder.mkdir()

    def interrupt(cleaned):
        if cleaned.source.index == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _remove(source, folder / "out.mkv", observe=interrupt)
    assert _names(folder) == [".out.mkv.clear_rt-work"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clear_rt")]


def _names(folder):
    return [path.name for path in folder.iterdir()]


def _mine():
    return [thread for thread in threading.enumerate() if thread.name.startswith("clear_rt")]


class Paced(BlockEngine):
    """Calls `pace` before every step."""

    def __init__(self, pace):
        super().__init__()
        self._pace = pace

    def velocity(self, latents, control, row):
        self._pace(self.velocities)
        return super().velocity(latents, control, row)


def test_progress_is_told_from_this_thread_while_a_window_is_waited_for(tmp_path):
    """No step is taken before the one before it was told of, and no frame is there before 4 steps of two windows."""
    told = threading.Condition()
    counts, tellers = [], set()

    def tell(phase, done, total):
        tellers.add(threading.current_thread())
        with told:
            counts.append((phase, done))
            told.notify_all()

    def pace(done):
        with told:
            assert told.wait_for(lambda: ("generating", done) in counts, timeout=60), f"nobody told of step {done}"

    source = numbered_scene(tmp_path / "in.mkv", 40)
    report = Remover(_config(), bundle=bundle(), engine=Paced(pace))(source, tmp_path / "out.mkv", tell)
    generating = [done for phase, done in counts if phase == "generating"]
    assert generating == list(range(2 * report.windows + 1))
    assert counts.index(("generating", 3)) < counts.index(("removing", 1))
    assert tellers == {threading.main_thread()}


@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize("by", ["signal", "progress"])
def test_an_interrupt_while_a_window_is_waited_for_ends_the_engine_with_its_step(tmp_path, monkeypatch, draft, by):
    """In the third step, which takes until the stages are told to stop: who is interrupted must not wait for it."""
    source, folder = numbered_scene(tmp_path / "in.mkv", 150), tmp_path / "target"
    folder.mkdir()
    begun, stops = threading.Event(), []

    class Seen(Stop):
        def __init__(self):
            super().__init__()
            stops.append(self)

    def pace(done):
        if done == 2:
            begun.set()
            assert stops[0].wait(60), "nobody said stop"

    def interrupt():
        begun.wait()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def tell(phase, done, total):
        if by == "progress" and phase == "generating" and done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("clear_rt.remover.Stop", Seen)
    engine = Paced(pace)
    if by == "signal":
        threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        Remover(_config(), bundle=bundle(spec(draft=draft)), engine=engine)(source, folder / "out.mkv", tell)
    assert engine.velocities <= 3
    assert _names(folder) == [".out.mkv.clear_rt-work"]
    assert not _mine()


@pytest.mark.parametrize("draft", [False, True])
def test_a_full_disk_ends_all_threads(tmp_path, monkeypatch, draft):
    source, folder = numbered_scene(tmp_path / "in.mkv", 150), tmp_path / "target"
    folder.mkdir()
    write = frames.SegmentedWriter.write

    def full(self, frame):
        if frame.index == 30:
            raise OutputError("out.mkv cannot be written: no space left; make room")
        write(self, frame)

    monkeypatch.setattr(frames.SegmentedWriter, "write", full)
    with pytest.raises(OutputError, match="no space left"):
        _remove(source, folder / "out.mkv", draft=draft)
    assert not list(folder.iterdir())
    assert not _mine()


@pytest.mark.parametrize("draft", [False, True])
def test_a_prior_that_fails_in_the_second_pass_ends_all_threads(tmp_path, draft):
    """Which of both passes meets it is a matter of time; what is said is not."""

    class Failing(Counting):
        def occlusion(self, rgb):
            if self.maps == 60:
                raise EngineError("the prior failed; fetch the bundle again")
            return super().occlusion(rgb)

    source, folder = numbered_scene(tmp_path / "in.mkv", 150), tmp_path / "target"
    folder.mkdir()
    with pytest.raises(EngineError, match="the prior failed; fetch the bundle again"):
        _remove(source, folder / "out.mkv", engine=Failing(), draft=draft)
    assert not list(folder.iterdir())
    assert not _mine()


@pytest.mark.parametrize("mode", ["membrane", "off"])
def test_the_result_does_not_depend_on_threads(tmp_path, monkeypatch, mode):
    """One worker per stage or three, an engine that is slow now and then: the same samples, and the same progress."""
    texts = [(0, 40, TEXT), (10, 60, Box(40, 10, 100, 10))]
    source, results = numbered_scene(tmp_path / "in.mkv", 60, texts), []
    for workers, seed in ((1, None), (3, 1), (3, 2)):
        for module in ("second_pass", "leading"):
            monkeypatch.setattr(f"clear_rt.{module}.spare_workers", lambda workers=workers: workers)
        rng, told = np.random.default_rng(seed), []

        def pace(done, rng=rng, seed=seed):
            for _ in range(rng.integers(300_000) if seed else 0):
                pass

        remover = Remover(_config(mode, seed=5), bundle=bundle(spec(draft=True)), engine=Paced(pace))
        target = tmp_path / f"{workers}-{seed}.mkv"
        remover(source, target, lambda *heard, told=told: told.append(heard))
        planes = [plane.samples.copy() for frame in frames.read(target) for plane in frame.planes]
        results.append((planes, [heard for heard in told if heard[0] != "generating"]))
        assert len(planes) == 180
    for planes, told in results[1:]:
        assert told == results[0][1]
        assert all(np.array_equal(a, b) for a, b in zip(planes, results[0][0], strict=True))


def test_waiting_has_stages_of_its_own(tmp_path):
    report = _remove(numbered_scene(tmp_path / "in.mkv", 40), tmp_path / "out.mkv", draft=True)
    waits = {"content", "mattes", "composite", "encoder", "frames", "maps", "prior", "crops", "room"}
    assert {f"wait for {what}" for what in waits} | {"wait to convert"} <= set(report.stage_seconds)
    assert {"prior", "lead: prior"} & set(report.stage_seconds)
    assert {"convert crops", "composite", "lead: crop", "lead: matte"} <= set(report.stage_seconds)
