"""Everything beside the picture: other streams, chapters, tags, dispositions, colour description, cover art."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from av.packet import Packet
from av.stream import Disposition

from clear_rt.config import WriteConfig
from clear_rt.frames import Writer, copy, probe, read

FONT = bytes(range(256)) * 9
CHAPTERS = [
    {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "Anfang"}},
    {"id": 2, "start": 200, "end": 1000, "time_base": Fraction(1, 1000), "metadata": {"title": "終"}},
]


def sound(container, codec, seconds):
    """Adds a stereo stream; the returned function encodes a seeded tone into it."""
    stream = container.add_stream(codec, rate=48000)
    stream.metadata["language"] = "deu"

    def feed():
        rng = np.random.default_rng(3)
        for index in range(int(seconds * 48000 / 1024)):
            data = rng.normal(0, 0.1, (2, 1024)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(data, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, index * 1024, Fraction(1, 48000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    return feed


def lines(container, codec, count):
    """Adds a text subtitle stream with `count` lines."""
    stream = container.add_mux_stream(codec, time_base=Fraction(1, 1000))
    stream.metadata["language"] = "eng"
    stream.disposition = Disposition.forced

    def feed():
        for index in range(count):
            packet = Packet(f"line {index}".encode())
            packet.pts = packet.dts = 150 * index
            packet.duration, packet.time_base, packet.stream = 100, Fraction(1, 1000), stream
            container.mux(packet)

    return feed


def full_mkv(container):
    feeds = [sound(container, "aac", 1.0), lines(container, "subrip", 5)]
    container.add_attachment("font.ttf", "application/x-truetype-font", FONT)
    container.set_chapters(CHAPTERS)
    container.metadata["title"] = "Prüfung"

    def feed():
        for one in feeds:
            one()

    return feed


def sound_mp4(container):
    container.metadata["title"] = "Prüfung"
    container.set_chapters(CHAPTERS)
    return sound(container, "aac", 1.0)


def described(path):
    with av.open(str(path)) as container:
        streams = [(s.type, s.language, int(s.disposition)) for s in container.streams]
        chapters = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
            for c in container.chapters()
        ]
        fonts = [s.data for s in container.streams if s.type == "attachment"]
        return streams, chapters, fonts, container.metadata.get("title")


@pytest.mark.parametrize("how", ["rewrite", "copy"])
def test_mkv_keeps_everything(clip, tools, tmp_path, how):
    source = clip("in.mkv", frames=25, codec="libx264", others=full_mkv)
    target = tmp_path / "out.mkv"
    if how == "copy":
        assert copy(source, target) == ()
    else:
        assert tools.rewrite(source, target).dropped_streams == ()
    assert described(target) == described(source)
    assert described(source)[2] == [FONT]
    for kind in ("audio", "subtitle"):
        assert tools.packets(target, kind) == tools.packets(source, kind)
        assert tools.packets(source, kind)


@pytest.mark.parametrize("how", ["rewrite", "copy"])
def test_mp4_subtitles_and_tag_of_hevc(clip, tools, tmp_path, how):
    def text(container):
        stream = container.add_mux_stream("mov_text", time_base=Fraction(1, 1000))

        def feed():
            for index in range(3):
                packet = Packet(b"\0\x05hello")
                packet.pts = packet.dts = 50 + 100 * index
                packet.duration, packet.time_base, packet.stream = 80, Fraction(1, 1000), stream
                container.mux(packet)

        return feed

    source = clip("in.mp4", frames=12, codec="libx265", options={"x265-params": "log-level=none"}, others=text)
    if how == "copy":
        copy(source, tmp_path / "out.mp4")
    else:
        tools.rewrite(source, tmp_path / "out.mp4")
    assert tools.packets(tmp_path / "out.mp4", "subtitle") == tools.packets(source, "subtitle")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_interlacing_survives_editing(clip, tools, tmp_path):
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    source = clip("in.mp4", width_px=64, height_px=64, frames=4, codec="libx264", options=options)
    assert probe(source).is_interlaced
    tools.rewrite(source, tmp_path / "out.mp4", edit=lambda frame: frame.edited())
    assert all(frame.picture.interlaced_frame for frame in read(tmp_path / "out.mp4"))


@pytest.mark.parametrize("container", ["mp4", "mov", "ts"])
def test_sound_is_copied_packet_by_packet(clip, tools, tmp_path, container):
    source = clip(f"in.{container}", frames=25, codec="libx264", others=sound_mp4)
    target = tmp_path / f"out.{container}"
    assert tools.rewrite(source, target).dropped_streams == ()
    before, after = tools.packets(source, "audio"), tools.packets(target, "audio")
    assert [data for *_, data in after] == [data for *_, data in before]
    offset = after[0][1] - before[0][1]
    assert all(b[1] - a[1] == offset for a, b in zip(before, after, strict=True))
    starts = [next(read(path)).time_us for path in (source, target)]
    assert abs(starts[1] - starts[0] - float(offset) * 1e6) < 1
    if container != "ts":
        assert (offset, described(target)[1:]) == (0, described(source)[1:])


def test_streams_are_interleaved(clip, tools, tmp_path):
    source = clip("in.mkv", frames=50, codec="libx264", others=lambda c: sound(c, "aac", 2.0))
    tools.rewrite(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        order = [float((p.dts if p.dts is not None else p.pts) * p.time_base) for p in container.demux() if p.size]
    assert max(a - b for a, b in itertools.pairwise(order)) < 0.5


def test_refused_stream_is_named(clip, tools, tmp_path):
    source = clip("in.mkv", frames=5, codec="libx264", others=full_mkv)
    dropped = tools.rewrite(source, tmp_path / "out.mp4").dropped_streams
    assert len(dropped) == 2
    assert "subtitle, subrip" in dropped[0]
    assert "attachment, font.ttf" in dropped[1]
    assert [s.type for s in probe(tmp_path / "out.mp4").other_streams if s.type != "data"] == ["audio"]


def with_cover(container):
    stream = container.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = 16, 16, "yuvj420p"
    stream.disposition = Disposition.attached_pic
    picture = av.VideoFrame(16, 16, "yuvj420p")
    picture.pts = 0
    return lambda: container.mux([*stream.encode(picture), *stream.encode(None)])


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_cover_art_is_kept_and_is_not_the_video(clip, tools, tmp_path, container):
    source = clip("in.mp4", frames=3, codec="libx264", others=with_cover)
    assert probe(source).codec == "h264"
    target = tmp_path / f"out.{container}"
    assert tools.rewrite(source, target).dropped_streams == ()
    with av.open(str(target)) as opened, av.open(str(source)) as original:
        covers = [s for s in opened.streams.video if s.disposition & Disposition.attached_pic]
        assert len(covers) == 1
        cover = next(bytes(p) for p in opened.demux(covers[0]))
        assert cover == next(bytes(p) for p in original.demux(original.streams.video[1]))


@pytest.mark.parametrize(("codec", "container"), [("libx264", "mp4"), ("libx265", "mkv"), ("libvpx-vp9", "mp4")])
def test_colour_description_and_shape_are_kept(clip, tools, tmp_path, codec, container):
    def describe(stream):
        context = stream.codec_context
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = 1, 9, 16, 9
        context.sample_aspect_ratio = Fraction(4, 3)

    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    source = clip(f"in.{container}", width_px=96, frames=3, codec=codec, setup=describe, options=options)
    tools.rewrite(source, tmp_path / f"out.{container}")
    before, after = probe(source), probe(tmp_path / f"out.{container}")
    assert after.colour == before.colour
    assert (after.colour.primaries, after.colour.transfer, after.colour.matrix) == (9, 16, 9)
    assert after.sample_aspect_ratio == before.sample_aspect_ratio == Fraction(4, 3)
    edited = next(read(source)).edited().picture
    assert (edited.color_primaries, edited.color_trc, edited.colorspace, edited.color_range) == (9, 16, 9, 1)


def test_hdr10_metadata_is_kept(clip, tools, tmp_path):
    params = "log-level=none:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    options = {"x265-params": params + ":max-cll=1000,400"}
    source = clip("in.mp4", "yuv420p10le", frames=3, codec="libx265", options=options)
    assert probe(source).mastering.light == "1000,400"
    tools.rewrite(source, tmp_path / "out.mkv", lossless=True)
    assert probe(tmp_path / "out.mkv").mastering == probe(source).mastering


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv", "avi", "ts"])
def test_copy_changes_no_packet(clip, tools, tmp_path, container):
    source = clip(f"in.{container}", frames=25, codec="libx264", options={"bf": "0"} if container == "avi" else {})
    copy(source, tmp_path / f"out.{container}")
    before, after = tools.packets(source), tools.packets(tmp_path / f"out.{container}")
    assert [data for *_, data in after] == [data for *_, data in before]
    assert container == "ts" or after == before
    assert tools.same_samples(tools.samples(source), tools.samples(tmp_path / f"out.{container}"))


def test_matrix_and_range_of_rgb(clip):
    def tag(matrix, color_range):
        def setup(stream):
            stream.codec_context.colorspace, stream.codec_context.color_range = matrix, color_range

        return setup

    def red(**options):
        frame = next(read(clip(frames=1, codec="libx264", options={"qp": "0"}, **options)))
        edited = frame.edited()
        for plane, value in zip(edited.planes, (120, 90, 200), strict=True):
            plane.samples[...] = value
        return edited.rgb(24, 32)[5, 5].tolist()

    # Limited range 709 by hand: y' = 1.164 * 104, r = y' + 1.793 * 72, g = y' + 0.213 * 38 - 0.533 * 72.
    assert np.allclose(red(name="a.mp4", setup=tag(1, 1)), [250, 91, 41], atol=2)
    assert np.allclose(red(name="b.mp4", setup=tag(6, 1)), [236, 78, 44], atol=2)
    assert np.allclose(red(name="c.mp4", setup=tag(2, 0)), [236, 78, 44], atol=2)
    assert np.allclose(red(name="d.mp4", setup=tag(1, 2)), [233, 94, 50], atol=2)
    assert np.allclose(red(name="e.mp4", width_px=1280, height_px=720), [250, 91, 41], atol=2)


def test_two_writers_from_the_same_frames(clip, tools, tmp_path):
    source = clip("in.mp4", frames=5, codec="libx264")
    info = probe(source)
    config = WriteConfig(lossless=True)
    with Writer(info, tmp_path / "a.avi", config) as first, Writer(info, tmp_path / "b.mp4", config) as second:
        for frame in read(info):
            first.write(frame)
            second.write(frame)
    assert tools.same_samples(tools.samples(tmp_path / "a.avi"), tools.samples(tmp_path / "b.mp4"))
    assert [f.time_us for f in read(tmp_path / "b.mp4")] == [f.time_us for f in read(source)]


def test_pixel_shape_that_cannot_be_written_is_named(clip, tools, tmp_path):
    def anamorphic(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    source = clip("in.mp4", width_px=96, frames=3, codec="libvpx-vp9", setup=anamorphic)
    assert tools.rewrite(source, tmp_path / "out.mp4").dropped_streams == ()
    assert "pixel shape 4:3" in tools.rewrite(source, tmp_path / "out.webm").dropped_streams[0]
    assert "pixel shape 4:3" in copy(source, tmp_path / "copy.mkv")[0]
