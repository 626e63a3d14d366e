"""NVDEC: its pictures turned planar bit for bit, whom it is given to, and the CPU wherever it does not do."""

import random
from dataclasses import replace
from itertools import islice, product

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from clear_rt.config import ReadConfig
from clear_rt.errors import ConfigError, EngineError, InputError
from clear_rt.frames import decode, decode_nvdec, probe, read, with_decoder
from clear_rt.frames.decode_cpu import cpu_pictures
from clear_rt.frames.decode_nvdec import difference, disagreement, refusal
from clear_rt.frames.decoder import Decoder
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.planar import SEMI_PLANAR, Planar
from clear_rt.frames.scale import copy_with_properties
from clear_rt.frames.views import component_views
from clear_rt.runtime.device import gpu_count

needs_no_gpu = pytest.mark.skipif(gpu_count() > 0, reason="what is said where there is no NVIDIA GPU")
QUIET = {"x265-params": "log-level=none"}
TAGS = ("color_range", "color_primaries", "color_trc", "colorspace")
DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"


def semi_planar(picture):
    """The picture as NVDEC would give it: properties by swscale, every sample by numpy from its definition."""
    layout, name = pixel_layout(picture.format.name), SEMI_PLANAR[picture.format.name]
    tags = [getattr(picture, tag) for tag in TAGS]
    matrix, full = Colorspace.ITU709, ColorRange.JPEG
    options = {"src_colorspace": matrix, "dst_colorspace": matrix, "src_color_range": full, "dst_color_range": full}
    twin = VideoReformatter().reformat(picture, format=name, **options)
    for tag, value in zip(TAGS, tags, strict=True):
        setattr(twin, tag, value)
    target = pixel_layout(name)
    for old, new in zip(component_views(picture, layout), component_views(twin, target, True), strict=True):
        new[...] = old << target.shift
    return twin


def all_samples(picture):
    return [view.copy() for view in component_views(picture, pixel_layout(picture.format.name))]


@pytest.mark.parametrize("pixel_format", SEMI_PLANAR)
@pytest.mark.parametrize("size", [(64, 48), (319, 179), (3, 5), (2, 2), (1, 1)])
def test_planar_holds_every_sample_whatever_the_tags(tools, pixel_format, size):
    picture = tools.make_picture(pixel_format, *size, 1)
    layout = pixel_layout(pixel_format)
    for view in component_views(picture, layout, True):
        view[...] = np.random.default_rng(2).integers(0, 1 << layout.bits, view.shape)
    planar = Planar(pixel_format)
    for range_, matrix, transfer in product((0, 1, 2), range(15), (2, 16)):
        picture.color_range, picture.colorspace = range_, matrix
        picture.color_primaries, picture.color_trc = 9, transfer
        found = planar(semi_planar(picture))
        assert found.format.name == pixel_format
        assert [getattr(found, tag) for tag in TAGS] == [range_, 9, transfer, matrix]
        assert all(map(np.array_equal, all_samples(found), all_samples(picture)))


@pytest.mark.parametrize(
    ("codec", "pixel_format", "options"),
    [
        ("libx264", "yuv420p", {"x264-params": f"mastering-display={DISPLAY}:cll=1000,400"}),
        ("libx264", "yuvj420p", {}),
        ("libx265", "yuv420p10le", {"x265-params": f"log-level=none:master-display={DISPLAY}:max-cll=1000,400"}),
        ("libvpx-vp9", "yuv420p", {}),
    ],
)
def test_planar_pictures_are_those_of_the_software_decoder(clip, codec, pixel_format, options):
    """Decoded, laid out as NVDEC does, and back: samples, time, colour, side data, and where chroma is sited."""
    turned = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    setup = {"setup": lambda stream: stream.set_display_matrix(turned)}
    info = probe(clip("in.mp4", pixel_format, 66, 50, frames=6, codec=codec, options=options, **setup))
    planar, seen = Planar(info.pixel_format), set()
    for picture in cpu_pictures(info):
        assert difference(planar(semi_planar(picture)), picture) is None
        seen |= {item.type.name for item in picture.side_data}
    assert "DISPLAYMATRIX" in seen
    assert not options or "MASTERING_DISPLAY_METADATA" in seen


def test_planar_of_real_video(clean):
    planar = Planar("yuv420p")
    assert {difference(planar(semi_planar(picture)), picture) for picture in cpu_pictures(probe(clean))} == {None}


def test_planar_refuses_what_it_did_not_expect(tools):
    with pytest.raises(ValueError, match="it gives p010le where nv12 was expected"):
        Planar("yuv420p")(tools.make_picture("p010le", 16, 16, 1))


def pair(path, index):
    """A picture of the video, and the same one having gone through `planar`."""
    expected = next(islice(cpu_pictures(probe(path)), index, None))
    return Planar("yuv420p")(semi_planar(expected)), expected


@pytest.mark.parametrize(
    ("tag", "value"), [("pts", 7), ("duration", 7), ("color_range", 2), ("color_trc", 16), ("colorspace", 9)]
)
def test_another_tag_is_a_difference(clean, tag, value):
    found, expected = pair(clean, 0)
    setattr(found, tag, value)
    assert difference(found, expected) == tag.replace("_", " ")


def test_one_bit_of_one_sample_is_a_difference(clean):
    found, expected = pair(clean, 0)
    for view in component_views(found, pixel_layout("yuv420p"), True):
        assert difference(found, expected) is None
        view[-1, -1] ^= 1
        assert difference(found, expected) == "samples"
        view[-1, -1] ^= 1
    assert difference(expected.reformat(width=64), expected) == "size or pixel format"


@pytest.mark.parametrize(("index", "what"), [(0, "side data"), (1, "place of chroma")])
def test_what_a_bare_picture_lacks_is_a_difference(clean, index, what):
    """The first picture carries x264's options as side data, the second only says that chroma is sited left."""
    _, expected = pair(clean, index)
    bare, layout = av.VideoFrame(expected.width, expected.height, "yuv420p"), pixel_layout("yuv420p")
    for old, new in zip(component_views(expected, layout), component_views(bare, layout, True), strict=True):
        new[...] = old
    for tag in (*TAGS, "pts", "duration", "time_base"):
        setattr(bare, tag, getattr(expected, tag))
    assert difference(bare, expected) == what


def test_pictures_of_every_matrix_can_be_edited(tools):
    for matrix in range(15):
        picture = tools.make_picture("yuv420p", 16, 16, 1)
        picture.colorspace, picture.pts = matrix, 3
        twin = copy_with_properties(picture)
        assert (twin.colorspace, twin.pts) == (matrix, 3)


@needs_no_gpu
@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
def test_without_a_gpu_nvdec_is_tried_in_earnest_and_fails(clip, codec):
    info = probe(clip("in.mp4", frames=3, codec=codec, options=QUIET if codec == "libx265" else {}))
    assert refusal(info) == "no NVIDIA GPU was found"
    assert disagreement(info) == "NVDEC does not decode it (a library of NVIDIA's driver cannot be loaded)"


def test_av1_has_no_decoder_on_the_gpu(clip):
    """FFmpeg prefers libdav1d, so PyAV finds no stream that a GPU decodes, with one or without."""
    info = probe(clip("in.mp4", width_px=64, height_px=64, frames=3, codec="libsvtav1", options={"preset": "12"}))
    assert "no stream is compatible" in disagreement(info)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "options", "words"),
    [
        ("mpeg2video", "yuv420p", {}, "this is mpeg2video yuv420p"),
        ("libx264", "yuv422p", {}, "this is h264 yuv422p"),
        ("libx265", "yuv420p12le", QUIET, "this is hevc yuv420p12le"),
        ("libx264", "yuv420p", {"flags": "+ildct+ilme", "x264-params": "tff=1"}, "the video is interlaced"),
    ],
)
def test_files_that_nvdec_is_not_given(clip, monkeypatch, codec, pixel_format, options, words):
    monkeypatch.setattr(decode_nvdec, "gpu_count", lambda: 1)
    monkeypatch.setattr(decode_nvdec, "nvdec_pictures", None)
    info = probe(clip("in.mkv", pixel_format, 64, 64, frames=3, codec=codec, options=options))
    assert words in refusal(info)
    assert words in with_decoder(info, "auto").decoder.why_not_gpu
    with pytest.raises(
        EngineError, match=f"^--decoder nvdec cannot be honoured: .*{words}; use --decoder auto or cpu$"
    ):
        with_decoder(info, "nvdec")


@needs_no_gpu
def test_a_driver_that_counts_gpus_and_loads_nothing(clip, monkeypatch):
    monkeypatch.setattr(decode_nvdec, "gpu_count", lambda: 1)
    info = probe(clip("in.mp4", frames=3, codec="libx264"))
    assert "cannot be loaded" in with_decoder(info, "auto").decoder.why_not_gpu
    with pytest.raises(EngineError, match="NVDEC does not decode it"):
        with_decoder(info, "nvdec")


@needs_no_gpu
def test_without_a_gpu(clip, tools):
    info = probe(clip("in.mp4", frames=3, codec="libx264"))
    assert (info.decoder.name, info.decoder.why_not_gpu) == ("cpu", None)
    assert with_decoder(info, "cpu").decoder.why_not_gpu is None
    chosen = with_decoder(info, "auto")
    assert chosen == info
    for _ in range(2):
        assert tools.same_samples(tools.samples(chosen), tools.samples(info))
    assert (chosen.decoder.name, chosen.decoder.why_not_gpu) == ("cpu", "no NVIDIA GPU was found")
    with pytest.raises(EngineError, match=r"^--decoder nvdec cannot be honoured: no NVIDIA GPU was found; use"):
        with_decoder(info, "nvdec")


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="--decoder must be auto, cpu or nvdec, got vaapi"):
        ReadConfig(decoder="vaapi")


@pytest.fixture
def gpu(monkeypatch):
    """Puts pictures of the CPU in NVDEC's place: gpu(count, error) gives `count` and then raises, if anything.

    What is tried is who reads when, and what happens where NVDEC stops.
    """
    calls = []

    def stand_in(count=None, error=None):
        def pictures(info):
            calls.append(info)
            yield from islice(cpu_pictures(info), count)
            if error:
                raise error

        monkeypatch.setattr(decode, "nvdec_pictures", pictures)
        return calls

    return stand_in


def _asking(info, asked):
    return replace(info, decoder=Decoder(asked))


def _shown(info):
    return [(frame.time_us, frame.picture.duration) for frame in read(info)]


def test_the_cpu_reads_first_and_nvdec_after_it(clip, tools, gpu):
    calls, info = gpu(), probe(clip("in.mp4", frames=9, codec="libx264"))
    asked = _asking(info, "nvdec")
    for name, count in (("cpu", 0), ("nvdec", 1), ("nvdec", 2)):
        assert tools.same_samples(tools.samples(asked), tools.samples(info))
        assert (asked.decoder.name, len(calls)) == (name, count)
    assert (asked.decoder.frames, asked.decoder.why_not_gpu) == (9, None)


def test_a_first_reading_that_was_left_does_not_count(clip, gpu):
    calls, asked = gpu(), _asking(probe(clip("in.mp4", frames=9, codec="libx264")), "auto")
    for _ in range(2):
        reading = read(asked)
        next(reading)
        reading.close()
    assert (asked.decoder.frames, calls) == (None, [])


@pytest.mark.parametrize(
    ("count", "error", "words"),
    [
        (4, av.ExternalError(-1, "Generic error"), "NVDEC stopped after 4 frames (Generic error)"),
        (0, PermissionError(1, "text"), "NVDEC stopped after 0 frames (a library of NVIDIA's driver cannot be loaded)"),
        (8, None, "NVDEC stopped after 8 frames (9 were expected)"),
        (9, ValueError("it gives nv16"), None),
    ],
)
def test_the_cpu_goes_on_where_nvdec_stops(clip, tools, gpu, count, error, words):
    gpu(count, error)
    info = probe(clip("in.avi", frames=9, codec="libx264", options={"bf": "0"}))
    asked = _asking(info, "auto")
    for _ in range(3):
        assert tools.same_samples(tools.samples(asked), tools.samples(info))
        assert _shown(asked) == _shown(info)
    assert asked.decoder.why_not_gpu == words
    assert asked.decoder.name == ("nvdec" if count else "cpu")
    demanded = _asking(info, "nvdec")
    list(read(demanded))
    if words:
        with pytest.raises(EngineError, match="NVDEC stopped after"):
            list(read(demanded))


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_found_by_the_cpu_as_ever_and_keeps_nvdec_away(clean, tmp_path, gpu, seed):
    calls, data, where = gpu(), bytearray(clean.read_bytes()), random.Random(seed)
    for _ in range(3):
        at = where.randrange(len(data) // 4, len(data) * 3 // 4)
        data[at : at + 40] = bytes(40)
    (tmp_path / "in.mp4").write_bytes(data)
    info = probe(tmp_path / "in.mp4")
    asked = _asking(info, "auto")
    ends = []
    for source in (info, asked, asked):
        try:
            ends.append(len(list(read(source))))
        except InputError as error:
            ends.append(str(error))
    assert len(set(ends)) == 1
    assert calls == []
    if isinstance(ends[0], int):
        assert asked.decoder.why_not_gpu.startswith("the video is damaged in frame ")


def test_fields_further_on_keep_nvdec_away(clip, gpu):
    calls = gpu()
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    info = probe(clip("in.mp4", width_px=64, height_px=64, frames=4, codec="libx264", options=options))
    asked = _asking(info, "auto")
    assert _shown(asked) == _shown(asked) == _shown(info)
    assert (asked.decoder.why_not_gpu, calls) == ("the video is interlaced in frame 0", [])
    with pytest.raises(EngineError, match="interlaced in frame 0"):
        list(read(_asking(info, "nvdec")))


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("codec", "pixel_format", "options"),
    [
        ("libx264", "yuv420p", {}),
        ("libx264", "yuvj420p", {}),
        ("libx265", "yuv420p", QUIET),
        ("libx265", "yuv420p10le", QUIET),
        ("libvpx-vp9", "yuv420p", {}),
    ],
)
@pytest.mark.parametrize("size", [(320, 192), (318, 178)])
def test_nvdec_gives_what_the_cpu_gives(clip, tools, codec, pixel_format, options, size):
    info = probe(clip("in.mp4", pixel_format, *size, frames=40, codec=codec, options=options))
    chosen = with_decoder(info, "auto")
    if chosen.decoder.why_not_gpu:
        pytest.skip(f"NVDEC is not used here: {chosen.decoder.why_not_gpu}")
    for _ in range(2):
        assert tools.same_samples(tools.samples(chosen), tools.samples(info))
        assert _shown(chosen) == _shown(info)
    assert (chosen.decoder.name, chosen.decoder.why_not_gpu) == ("nvdec", None)
