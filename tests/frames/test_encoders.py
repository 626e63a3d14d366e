"""NVENC: chosen where one picture went through it and came back, refused with a reason, and the CPU otherwise."""

from dataclasses import replace
from fractions import Fraction

import av
import pytest

from clear_rt.config import WriteConfig
from clear_rt.errors import ConfigError, EngineError
from clear_rt.frames import check_writable, encoders, probe
from clear_rt.frames.encoder_options import options_of
from clear_rt.frames.encoders import choose_encoder
from clear_rt.frames.info import Mastering
from clear_rt.frames.trial import trial
from clear_rt.runtime.device import gpu_count

NVENC = ["h264_nvenc", "hevc_nvenc", "av1_nvenc"]
needs_no_gpu = pytest.mark.skipif(gpu_count() > 0, reason="what is said where there is no NVIDIA GPU")


@pytest.fixture
def source(clip):
    return probe(clip("in.mp4", width_px=256, height_px=192, frames=3, codec="libx264"))


@pytest.fixture
def a_gpu(monkeypatch):
    """Lets the choice believe in a GPU; what it then tries is real."""
    monkeypatch.setattr(encoders, "gpu_count", lambda: 1)


def context_of(name, pixel_format="yuv420p", size=(256, 192), **options):
    context = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = *size, pixel_format
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.options = options
    return context


@pytest.mark.parametrize("name", NVENC)
@pytest.mark.parametrize("lossless", [False, True])
def test_nvenc_knows_the_options_it_is_given(source, name, lossless):
    known = context_of(name).supported_options
    descriptions = {option.name: option for option in (*known.generic, *known.private)}
    for option, value in options_of(name, WriteConfig(lossless=lossless), source, "mp4").items():
        names = {choice.name for choice in descriptions[option].choices}
        assert value in names or descriptions[option].min <= float(value) <= descriptions[option].max


def test_quality_is_on_the_scale_of_the_codecs_encoder_on_the_cpu(source):
    pairs = {"h264_nvenc": "libx264", "hevc_nvenc": "libx265", "av1_nvenc": "libsvtav1"}
    for crf in range(52):
        for nvenc, cpu in pairs.items():
            quality = options_of(nvenc, WriteConfig(crf=crf), source, "mp4")["cq"]
            # 0 is lossless for x264, and means "choose one" for NVENC.
            assert quality == (options_of(cpu, WriteConfig(crf=crf), source, "mp4")["crf"] if crf else "1")


@needs_no_gpu
@pytest.mark.parametrize("name", NVENC)
def test_without_a_gpu_nvenc_is_tried_in_earnest_and_fails(name):
    said = trial(context_of(name), "yuv420p", lossless=False)
    assert said == f"{name} does not encode 256x192 yuv420p (a library of NVIDIA's driver cannot be loaded)"


@pytest.mark.parametrize(
    ("name", "pixel_format", "lossless", "lossy"),
    [
        ("libx264", "yuv420p", {"qp": "0"}, {"crf": "30"}),
        ("libx264", "nv12", {"qp": "0"}, {"crf": "30"}),
        ("libx265", "yuv420p10le", {"x265-params": "log-level=none:lossless=1"}, {"x265-params": "log-level=none"}),
        ("libvpx-vp9", "yuv444p", {"lossless": "1"}, {"crf": "30"}),
        ("libsvtav1", "yuv420p", {"svtav1-params": "lossless=1"}, {"crf": "30"}),
    ],
)
def test_a_trial_tells_what_comes_back(name, pixel_format, lossless, lossy):
    assert trial(context_of(name, pixel_format, **lossless), pixel_format, lossless=True) is None
    assert trial(context_of(name, pixel_format, **lossy), pixel_format, lossless=False) is None
    assert trial(context_of(name, pixel_format, **lossy), pixel_format, lossless=True) == f"{name} is not lossless here"
    other = "yuv422p"
    said = trial(context_of(name, pixel_format, **lossy), other, lossless=False)
    assert said.startswith(f"{name} makes 256x192 yuv4")


@needs_no_gpu
@pytest.mark.parametrize("name", NVENC)
def test_without_a_gpu(source, tmp_path, name):
    with pytest.raises(EngineError) as caught:
        check_writable(source, tmp_path / "out.mp4", WriteConfig(encoder=name))
    found = "cannot be honoured: no NVIDIA GPU was found; use --encoder auto or cpu"
    assert str(caught.value) == f"--encoder {name} {found}"
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@needs_no_gpu
@pytest.mark.parametrize(("asked", "why_not"), [("auto", "no NVIDIA GPU was found"), ("cpu", None)])
def test_the_cpu_encodes_and_the_writer_says_why(source, tools, tmp_path, asked, why_not):
    writer = tools.rewrite(source.path, tmp_path / "out.mp4", encoder=asked)
    assert (writer.encoder, writer.why_not_gpu) == ("libx264", why_not)


@needs_no_gpu
def test_what_fails_when_tried_is_the_reason(source, a_gpu):
    found = choose_encoder(source, WriteConfig(), "mp4")
    reason = "h264_nvenc does not encode 256x192 yuv420p (a library of NVIDIA's driver cannot be loaded)"
    assert (found.name, found.why_not_gpu) == ("libx264", reason)
    with pytest.raises(
        EngineError, match=r"^--encoder hevc_nvenc cannot be honoured: hevc_nvenc does not encode 256x192"
    ):
        choose_encoder(source, WriteConfig(encoder="hevc_nvenc"), "mp4")


@pytest.mark.parametrize(
    ("change", "config", "muxer", "words"),
    [
        ({"codec": "vp9"}, {}, "matroska", "this is vp9"),
        ({}, {"lossless": True}, "mp4", "left to the CPU"),
        ({"is_interlaced": True}, {}, "mp4", "interlaced"),
        ({"mastering": Mastering(light="1000,400")}, {}, "mp4", "HDR10 metadata"),
        ({"pixel_format": "yuv420p12le"}, {}, "mp4", "h264_nvenc takes no yuv420p12le"),
        ({"codec": "av1"}, {}, "mpegts", "a mpegts file does not hold what av1_nvenc makes"),
    ],
)
def test_videos_that_nvenc_is_not_given(source, a_gpu, monkeypatch, change, config, muxer, words):
    monkeypatch.setattr(encoders, "trial", None)
    found = choose_encoder(replace(source, **change), WriteConfig(**config), muxer)
    assert "nvenc" not in found.name
    assert words in found.why_not_gpu


def test_unknown_names_are_refused():
    with pytest.raises(
        ConfigError, match="--encoder must be auto, cpu, h264_nvenc, hevc_nvenc or av1_nvenc, got libx2"
    ):
        WriteConfig(encoder="libx264")


@pytest.mark.gpu
@pytest.mark.parametrize("name", NVENC)
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("lossless", [False, True])
def test_nvenc_writes_a_video_that_comes_back(clip, tools, tmp_path, name, pixel_format, lossless):
    path = clip("in.mkv", pixel_format, 320, 192, frames=20)
    try:
        check_writable(probe(path), tmp_path / "out.mkv", WriteConfig(encoder=name, lossless=lossless))
    except EngineError as error:
        pytest.skip(f"NVENC is not to be had here: {error}")
    writer = tools.rewrite(path, tmp_path / "out.mkv", encoder=name, lossless=lossless)
    assert (writer.encoder, writer.why_not_gpu) == (name, None)
    before, after = tools.samples(path), tools.samples(tmp_path / "out.mkv")
    assert len(after) == len(before)
    assert probe(tmp_path / "out.mkv").pixel_format == pixel_format
    assert not lossless or tools.same_samples(before, after)
