"""The main job on real and on awkward videos: what is text goes, what is not text keeps every bit."""

from __future__ import annotations

import subprocess
import sys
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
from clear_rt.remover import Cleaned, Remover
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
    assert after > before + 6
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
    assert all(
        np.array_equal(a, b) for x, y in zip(_planes(clean), _planes(tmp_path / "out.mp4"), strict=True)
        for a, b in zip(x, y, strict=True)
    )  # fmt: skip


def test_removing_twice_gives_the_same_file(subtitled, tmp_path):
    short = _first_frames(subtitled, tmp_path / "short.mkv", 12)
    for name in ("a.mkv", "b.mkv"):
        clear_rt.remove(short, tmp_path / name, LOSSLESS)
    for x, y in zip(_planes(tmp_path / "a.mkv"), _planes(tmp_path / "b.mkv"), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(x, y, strict=True))


def _first_frames(source: Path, target: Path, count: int) -> Path:
    info = frames.probe(source)
    with frames.Writer(info, target, WriteConfig(lossless=True)) as writer:
        for frame in frames.read(info):
            if frame.index < count:
                writer.write(frame)
    return target


def _scene(path, width_px, height_px, count, pixel_format="yuv420p"):
    """A moving smooth pattern, FFV1 in Matroska."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, pixel_format
        stream.codec_context.time_base = Fraction(1, 25)
        y, x = np.mgrid[:height_px, :width_px]
        for t in range(count):
            base = 90 + 50 * np.sin((x + 3 * t) / 41.0) * np.cos(y / 29.0)
            rgb = np.stack([base, base * 0.8 + 20, 160 - base * 0.5], axis=2).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = t, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _subtitled_scene(tmp_path, *size, count=10, pixel_format="yuv420p", text="Hello out there"):
    clean = _scene(tmp_path / "clean.mkv", *size, count, pixel_format)
    source = tmp_path / "source.mkv"
    captions = [Caption(0, 10_000_000, (text,), "en")]
    burn(clean, source, BurnConfig(style="outline", size_share=0.08 if size[0] > size[1] else 0.04), captions=captions,
         write_config=WriteConfig(lossless=True))  # fmt: skip
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
def test_extreme_sizes_go_through(tmp_path, size):
    clean = _scene(tmp_path / "clean.mkv", *size, 2)
    report = clear_rt.remove(clean, tmp_path / "out.mkv", LOSSLESS)
    assert report.frames == 2
    assert report.video_copied


def test_a_fixed_region_is_the_only_place_touched(subtitled, tmp_path):
    short = _first_frames(subtitled, tmp_path / "short.mkv", 24)
    box = Box(0, 300, 400, 104)
    config = RunConfig(region=RegionConfig(mode="fixed", box=box), write=WriteConfig(lossless=True))
    report = clear_rt.remove(short, tmp_path / "out.mkv", config)
    assert {run.box for run in report.runs} == {box}
    changed = np.zeros((404, 720), bool)
    for was, now in zip(_planes(short), _planes(tmp_path / "out.mkv"), strict=True):
        changed |= was[0] != now[0]
    assert changed[300:, :400].any()
    changed[300:, :400] = False
    assert not changed.any()


def test_a_region_beside_the_picture_is_refused(subtitled, tmp_path):
    config = RunConfig(region=RegionConfig(mode="fixed", box=Box(5000, 0, 10, 10)))
    with pytest.raises(ConfigError):
        clear_rt.remove(subtitled, tmp_path / "out.mp4", config)
    assert not list(tmp_path.iterdir())


def test_region_full_covers_the_picture(subtitled, tmp_path):
    short = _first_frames(subtitled, tmp_path / "short.mkv", 24)
    report = clear_rt.remove(short, tmp_path / "out.mkv", RunConfig(region=RegionConfig(mode="full")))
    assert {run.box for run in report.runs} == {Box(0, 0, 720, 404)}


def test_the_model_fill_needs_a_generator(subtitled, tmp_path):
    with pytest.raises(EngineError, match="no generative bundle installed"):
        clear_rt.remove(subtitled, tmp_path / "out.mp4", RunConfig(composite=CompositeConfig(fill="model")))
    assert not list(tmp_path.iterdir())


def test_avi_without_text_into_mp4_is_encoded_again(tmp_path):
    clean = _scene(tmp_path / "clean.mkv", 640, 360, 5)
    avi = _first_frames(clean, tmp_path / "clean.avi", 5)
    report = clear_rt.remove(avi, tmp_path / "out.mkv", LOSSLESS)
    assert not report.video_copied
    assert report.frames_changed == 0
    for x, y in zip(_planes(avi), _planes(tmp_path / "out.mkv"), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(x, y, strict=True))


def test_a_run_imports_no_torch_and_no_extras(subtitled, tmp_path):
    code = (
        "import sys, clear_rt; clear_rt.remove(sys.argv[1], sys.argv[2]);"
        "print(sorted(m for m in ('torch', 'diffusers', 'transformers', 'peft', 'modelopt', 'PIL', 'cv2', 'triton')"
        " if m in sys.modules))"
    )
    short = _first_frames(subtitled, tmp_path / "short.mkv", 10)
    done = subprocess.run(
        [sys.executable, "-c", code, short, tmp_path / "out.mp4"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_interrupt_leaves_nothing(subtitled, tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"what stood here")

    def interrupt(phase: str, done: int, total: int | None) -> None:
        if phase == "removing" and done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clear_rt.remove(subtitled, target, progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    assert target.read_bytes() == b"what stood here"
