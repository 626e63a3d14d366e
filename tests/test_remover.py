"""The main job on real and on awkward videos: what is text goes, what is not text keeps every bit."""

from __future__ import annotations

import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import clear_rt
from clear_rt import frames
from clear_rt.burn.config import BurnConfig
from clear_rt.burn.lines import Caption
from clear_rt.burn.video import burn
from clear_rt.config import CompositeConfig, RegionConfig, RunConfig, WriteConfig
from clear_rt.errors import ConfigError, EngineError
from clear_rt.matte_planes import alpha_for, luma_alpha
from clear_rt.remover import Remover
from clear_rt.second_pass import Cleaned
from clear_rt.shapes import Box, Size, whole

LOSSLESS = RunConfig(write=WriteConfig(lossless=True))


def _planes(path):
    return [[plane.samples.copy() for plane in frame.planes] for frame in frames.read(path)]


def _packets(path, kind):
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [(p.pts, p.dts, bytes(p)) for p in container.demux(stream) if p.size]


def _times(path):
    return [frame.time_us for frame in frames.read(path)]


def _psnr(pictures, references):
    squares = [np.mean((a[0].astype(float) - b[0]) ** 2) for a, b in zip(pictures, references, strict=True)]
    return 10 * np.log10(255**2 / np.mean(squares))


@pytest.fixture(scope="module")
def removed(subtitled, tmp_path_factory):
    """The sample without its text, losslessly, and the mattes it was done with."""
    target = tmp_path_factory.mktemp("removed") / "out.mp4"
    seen: list[tuple[np.ndarray, bool]] = []

    def observe(cleaned: Cleaned) -> None:
        seen.append((cleaned.matte.copy(), cleaned.result is not cleaned.source))

    return target, Remover(LOSSLESS)(subtitled, target, observe=observe), seen


def test_text_is_gone(removed, subtitled, clean):
    target, report, _ = removed
    before, after = _psnr(_planes(subtitled), _planes(clean)), _psnr(_planes(target), _planes(clean))
    assert after > before + 4
    assert 80 <= report.frames_changed <= 100


def test_samples_outside_the_matte_are_the_sources(removed, subtitled):
    """Every plane, every frame of the decoded output; frames that were not changed are equal as a whole."""
    target, report, seen = removed
    assert len(seen) == report.frames == 100
    for (matte, changed), was, now in zip(seen, frames.read(subtitled), frames.read(target), strict=True):
        size = Size(was.planes[0].samples.shape[1], was.planes[0].samples.shape[0])
        luma = luma_alpha(matte, size, whole(size))
        for a, b in zip(was.planes, now.planes, strict=True):
            alpha = alpha_for(luma, whole(size), a.step_x_px, a.step_y_px, spread=a.kind == "chroma")
            differs = a.samples != b.samples
            assert not (differs & (alpha == 0)).any()
            assert changed or not differs.any()


def test_times_and_sound_are_kept(removed, subtitled):
    target, _, _ = removed
    assert _times(target) == _times(subtitled)
    assert _packets(target, "audio") == _packets(subtitled, "audio")


def test_the_report_is_json_and_counts(removed):
    _, report, _ = removed
    facts = report.as_dict()
    assert facts["frames"] == 100
    assert facts["video_copied"] is False
    assert facts["runs"]
    assert {"scan: prior", "prior", "composite", "encode"} <= set(facts["stage_seconds"])


def test_a_video_without_text_is_copied(clean, tmp_path):
    report = clear_rt.remove(clean, tmp_path / "out.mp4")
    assert report.video_copied
    assert _packets(tmp_path / "out.mp4", "video") == _packets(clean, "video")
    _assert_same(clean, tmp_path / "out.mp4")


def test_removing_twice_gives_the_same_file(subtitled, tmp_path):
    short = _first_frames(subtitled, tmp_path / "short.mkv", 12)
    for name in ("a.mkv", "b.mkv"):
        clear_rt.remove(short, tmp_path / name, LOSSLESS)
    _assert_same(tmp_path / "a.mkv", tmp_path / "b.mkv")


def _cut(source: Path, target: Path, first: int, stop: int) -> Path:
    info = frames.probe(source)
    with frames.Writer(info, target, WriteConfig(lossless=True)) as writer:
        for frame in frames.read(info):
            if first <= frame.index < stop:
                writer.write(frame)
    return target


def _first_frames(source: Path, target: Path, count: int) -> Path:
    return _cut(source, target, 0, count)


def _assert_same(path, other):
    for x, y in zip(_planes(path), _planes(other), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(x, y, strict=True))


def _scene(path, width_px, height_px, count, pixel_format="yuv420p", matrix=None):
    """A moving smooth pattern, FFV1 in Matroska; `matrix` says how players turn it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, pixel_format
        stream.codec_context.time_base = Fraction(1, 25)
        if matrix:
            stream.set_display_matrix(matrix)
        y, x = np.mgrid[:height_px, :width_px]
        for t in range(count):
            base = 90 + 50 * np.sin((x + 3 * t) / 41.0) * np.cos(y / 29.0)
            rgb = np.stack([base, base * 0.8 + 20, 160 - base * 0.5], axis=2).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = t, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


LINE = Caption(0, 10_000_000, ("Hello out there",), "en")


def _subtitled_scene(tmp_path, *size, count=10, pixel_format="yuv420p", captions=(LINE,), matrix=None):
    clean = _scene(tmp_path / "clean.mkv", *size, count, pixel_format, matrix)
    source = tmp_path / "source.mkv"
    look = BurnConfig(style="outline", size_share=0.08 if (size[0] > size[1]) != bool(matrix) else 0.04)
    burn(clean, source, look, captions=captions, write_config=WriteConfig(lossless=True))
    return clean, source


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_short_clips(tmp_path, count):
    clean, source = _subtitled_scene(tmp_path, 640, 360, count=count)
    report = clear_rt.remove(source, tmp_path / "out.mkv", LOSSLESS)
    assert report.frames == report.frames_changed == count
    assert _psnr(_planes(tmp_path / "out.mkv"), _planes(clean)) > _psnr(_planes(source), _planes(clean)) + 10


@pytest.mark.parametrize(
    ("width_px", "height_px", "pixel_format"),
    [
        (360, 640, "yuv420p"),
        (853, 479, "yuv420p"),
        (641, 361, "yuv444p"),
        (640, 360, "yuv422p10le"),
        (640, 360, "gray"),
        (640, 360, "bgr0"),
        (1920, 1080, "yuv420p"),
        (256, 144, "yuv420p"),
    ],
)
def test_sizes_and_formats(tmp_path, width_px, height_px, pixel_format):
    clean, source = _subtitled_scene(tmp_path, width_px, height_px, count=4, pixel_format=pixel_format)
    report = clear_rt.remove(source, tmp_path / "out.mkv", LOSSLESS)
    assert report.frames_changed == 4
    info = frames.probe(tmp_path / "out.mkv")
    assert (info.width_px, info.height_px, info.pixel_format) == (width_px, height_px, pixel_format)
    peak = 1023 / 255 if "10" in pixel_format else 1.0
    found, truth = (
        [[plane / peak for plane in planes] for planes in _planes(path)] for path in (tmp_path / "out.mkv", clean)
    )
    assert _psnr(found, truth) > 35


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (7680, 4320)])
def test_extreme_sizes_are_copied(tmp_path, size):
    clean = _scene(tmp_path / "clean.mkv", *size, 2)
    report = clear_rt.remove(clean, tmp_path / "out.mkv", LOSSLESS)
    assert report.frames == 2
    assert report.video_copied


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (400, 16)])
def test_extreme_sizes_are_encoded(tmp_path, size):
    """AVI's packets cannot be copied into Matroska, so every frame goes through the second pass."""
    avi = _first_frames(_scene(tmp_path / "clean.mkv", *size, 3), tmp_path / "clean.avi", 3)
    report = clear_rt.remove(avi, tmp_path / "out.mkv", LOSSLESS)
    assert not report.video_copied
    _assert_same(avi, tmp_path / "out.mkv")


def test_large_pictures_with_text(tmp_path):
    clean, source = _subtitled_scene(tmp_path, 3840, 2160, count=2)
    report = clear_rt.remove(source, tmp_path / "out.mkv", LOSSLESS)
    assert report.frames_changed == 2
    assert _psnr(_planes(tmp_path / "out.mkv"), _planes(clean)) > 35


def test_turned_pictures(tmp_path):
    """The text is upright on the screen, so it lies on its side in the stored picture; both stay as they are."""
    turn = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    clean, source = _subtitled_scene(tmp_path, 640, 360, count=4, matrix=turn)
    report = clear_rt.remove(source, tmp_path / "out.mkv", LOSSLESS)
    info = frames.probe(tmp_path / "out.mkv")
    assert (info.width_px, info.height_px) == (360, 640)
    assert info.rotation_degrees == frames.probe(source).rotation_degrees != 0
    assert report.frames_changed == 4
    assert _psnr(_planes(tmp_path / "out.mkv"), _planes(clean)) > 35


def test_two_lines_at_two_edges_are_two_runs(tmp_path):
    above = Caption(0, 10_000_000, ("A title above",), "en", top=True)
    clean, source = _subtitled_scene(tmp_path, 640, 360, count=12, captions=(LINE, above))
    report = clear_rt.remove(source, tmp_path / "out.mkv", LOSSLESS)
    assert len(report.runs) == 2
    assert not report.runs[0].box.intersects(report.runs[1].box)
    assert _psnr(_planes(tmp_path / "out.mkv"), _planes(clean)) > 35


@pytest.mark.parametrize(("first", "stop"), [(0, 15), (57, 63), (8, 14)])
def test_text_at_the_ends_of_a_cut_clip(subtitled, clean, tmp_path, first, stop):
    """The caption stands on frames 10 to 59: it begins or ends less than a scan from the cut."""
    source = _cut(subtitled, tmp_path / "source.mkv", first, stop)
    truth = _cut(clean, tmp_path / "clean.mkv", first, stop)
    report = clear_rt.remove(source, tmp_path / "out.mkv", LOSSLESS)
    assert report.frames_changed > 0
    assert _psnr(_planes(tmp_path / "out.mkv"), _planes(truth)) > _psnr(_planes(source), _planes(truth)) + 2


def test_odd_times_survive_an_edit(tmp_path):
    """Frames 40, 80 and 240 ms apart, starting at 1.2 s."""
    _, source = _subtitled_scene(tmp_path, 640, 360, count=8)
    stamps = [1200, 1240, 1320, 1560, 1600, 1680, 1920, 1960]
    retimed = tmp_path / "retimed.mkv"
    with av.open(str(source)) as read, av.open(str(retimed), "w") as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        for packet, stamp in zip((p for p in read.demux(video=0) if p.size), stamps, strict=True):
            packet.pts = packet.dts = stamp
            packet.stream = stream
            write.mux(packet)
    report = clear_rt.remove(retimed, tmp_path / "out.mkv", LOSSLESS)
    assert report.frames_changed == 8
    assert _times(tmp_path / "out.mkv") == _times(retimed) == [1000 * stamp for stamp in stamps]


def test_a_fixed_region_is_the_only_place_touched(subtitled, tmp_path):
    short = _first_frames(subtitled, tmp_path / "short.mkv", 24)
    box = Box(0, 300, 400, 104)
    config = RunConfig(region=RegionConfig(mode="fixed", boxes=(box,)), write=WriteConfig(lossless=True))
    report = clear_rt.remove(short, tmp_path / "out.mkv", config)
    assert {run.box for run in report.runs} == {box}
    changed = np.zeros((404, 720), bool)
    for was, now in zip(_planes(short), _planes(tmp_path / "out.mkv"), strict=True):
        changed |= was[0] != now[0]
    assert changed[300:, :400].any()
    changed[300:, :400] = False
    assert not changed.any()


def test_a_region_beside_the_picture_is_refused(subtitled, tmp_path):
    config = RunConfig(region=RegionConfig(mode="fixed", boxes=(Box(5000, 0, 10, 10),)))
    with pytest.raises(ConfigError):
        clear_rt.remove(subtitled, tmp_path / "out.mp4", config)
    assert not list(tmp_path.iterdir())


def test_region_full_covers_the_picture(subtitled, tmp_path):
    short = _first_frames(subtitled, tmp_path / "short.mkv", 24)
    report = clear_rt.remove(short, tmp_path / "out.mkv", RunConfig(region=RegionConfig(mode="full")))
    assert {run.box for run in report.runs} == {Box(0, 0, 720, 404)}


def test_the_model_fill_needs_a_generator(subtitled, tmp_path, prior_bundle):
    config = RunConfig(bundle=prior_bundle, composite=CompositeConfig(fill="model"))
    with pytest.raises(EngineError, match="prior-only holds the occlusion prior only; use --fill membrane"):
        clear_rt.remove(subtitled, tmp_path / "out.mp4", config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_avi_without_text_is_encoded_again(tmp_path, suffix):
    avi = _first_frames(_scene(tmp_path / "clean.mkv", 640, 360, 5), tmp_path / "clean.avi", 5)
    report = clear_rt.remove(avi, tmp_path / f"out{suffix}", LOSSLESS)
    assert not report.video_copied
    assert report.frames_changed == 0
    _assert_same(avi, tmp_path / f"out{suffix}")


def test_a_run_imports_no_torch_and_no_extras(subtitled, tmp_path):
    code = (
        "import sys, clear_rt; clear_rt.remove(sys.argv[1], sys.argv[2]);"
        "print(sorted(m for m in ('torch', 'diffusers', 'transformers', 'peft', 'modelopt', 'PIL', 'triton')"
        " if m in sys.modules))"
    )
    short = _first_frames(subtitled, tmp_path / "short.mkv", 10)
    done = subprocess.run(
        [sys.executable, "-c", code, short, tmp_path / "out.mp4"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_interrupt_leaves_what_the_next_run_goes_on_from(subtitled, tmp_path):
    """The result is that of a run that was not interrupted, and nothing is looked for again."""
    target = tmp_path / "out.mp4"
    target.write_bytes(b"what stood here")

    def interrupt(phase: str, done: int, total: int | None) -> None:
        if phase == "removing" and done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clear_rt.remove(subtitled, target, progress=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clear_rt")]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".out.mp4.clear_rt-work", "out.mp4"]
    assert target.read_bytes() == b"what stood here"
    phases = set()
    clear_rt.remove(subtitled, target, progress=lambda phase, done, total: phases.add(phase))
    assert phases == {"removing"}
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    clear_rt.remove(subtitled, tmp_path / "whole.mp4")
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_regions_that_are_too_much_are_refused_before_anything_is_written(subtitled, tmp_path):
    seen = []

    def admit(picture, boxes):
        seen.append((picture, boxes))
        raise EngineError("that does not fit; use a smaller --region")

    with pytest.raises(EngineError, match="does not fit"):
        Remover(admit=admit)(subtitled, tmp_path / "out.mp4")
    ((picture, boxes),) = seen
    assert boxes
    assert all(box.right_px <= picture.width_px and box.bottom_px <= picture.height_px for box in boxes)
    assert not list(tmp_path.iterdir())
