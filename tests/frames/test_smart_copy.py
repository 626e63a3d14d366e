"""Smart copy: what has no edit keeps its packets, and the file plays through, and from every key picture on."""

import av
import numpy as np
import pytest

from clear_rt.errors import OutputError
from clear_rt.frames import Edits, probe, read
from clear_rt.frames.nal import H264, SYNTAX, header_units, length_bytes, stated_level, units
from clear_rt.frames.segments import hevc_numbers
from clear_rt.frames.segments.parameter_sets import free_number, merged
from tests.frames.moving import (
    QUIET,
    check_times,
    decoded,
    every_packet,
    hashed,
    moving_clip,
    seek_everywhere,
    times_us,
    video_packets,
    write,
    writing,
)

FRAMES = 60
RANGES = [((0, 1),), ((20, 22),), ((59, 60),), ((5, 6), (30, 41)), ((11, 13), (47, 48))]
HEVC = QUIET["x265-params"]
CASES = {
    "mp4": ("mp4", "mp4", "libx264", {}, {}),
    "uneven": ("mp4", "mp4", "libx264", {"bf": "8"}, {"uneven": True, "pixel_format": "yuv420p10le"}),
    "mkv": ("mkv", "mkv", "libx264", {}, {"size": (95, 63), "pixel_format": "yuv444p"}),
    "main": ("mkv", "mp4", "libx264", {"profile": "main", "level": "4.1"}, {}),
    "mov to mkv": ("mov", "mkv", "libx264", {"profile": "baseline"}, {}),
    "ts": ("ts", "ts", "libx264", {}, {}),
    "ts to mp4": ("ts", "mp4", "libx264", {}, {}),
    "mp4 to ts": ("mp4", "ts", "libx264", {}, {}),
    "open hevc": ("ts", "ts", "libx265", {"x265-params": f"{HEVC}:min-keyint=1:scenecut=0"}, {}),
    "closed hevc": ("mkv", "mkv", "libx265", {"x265-params": f"{HEVC}:open-gop=0:repeat-headers=1"}, {}),
    "open hevc in mp4": ("mp4", "mp4", "libx265", {"x265-params": f"{HEVC}:min-keyint=1:scenecut=0"}, {}),
    "closed hevc in mkv": (
        "mkv",
        "mkv",
        "libx265",
        {"x265-params": f"{HEVC}:open-gop=0"},
        {"uneven": True, "pixel_format": "yuv422p10le"},
    ),
    "hevc to ts": ("mp4", "ts", "libx265", {"x265-params": HEVC}, {"size": (200, 130)}),
    "hevc to mp4": ("ts", "mp4", "libx265", {"x265-params": HEVC}, {"pixel_format": "yuv420p10le"}),
}


def payload(path, headers):
    """The units of every video packet by presentation time.

    Without delimiters and ends, which belong to no picture, and what `headers` hold: muxers of TS repeat that.
    """
    info = probe(path)
    lengths, kind = length_bytes(info.codec, headers_of(path)), SYNTAX[info.codec].kind
    other = {"h264": {7, 8, 9}, "hevc": {32, 33, 34, 35, 36}}[info.codec]
    stated = header_units(info.codec, headers)
    shown = sorted(video_packets(path))
    return [
        tuple(unit for unit in units(data, lengths) if kind(unit) not in other and unit not in stated)
        for *_, data in shown
    ]


def headers_of(path):
    with av.open(str(path)) as opened:
        return opened.streams.video[0].codec_context.extradata


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    container, target, codec, options, made = CASES[request.param]
    folder = tmp_path_factory.mktemp("smart")
    source = moving_clip(folder / f"in.{container}", FRAMES, codec, options=options | {"g": "12"}, **made)
    return source, folder / f"out.{target}"


@pytest.mark.parametrize("ranges", RANGES)
def test_what_was_not_edited_is_the_sources(case, tools, ranges):
    source, target = case
    edits = Edits(FRAMES, ranges)
    writer = write(source, target, ranges, edits=edits, segment_frames=10, smart_copy=True, crf=20)
    assert writer.why_not_smart_copy is None
    assert writer.dropped_streams == ()
    copied = [part for part in writer.plan.until(FRAMES) if part.copied]
    assert 0 < writer.frames_copied == sum(part.stop_frame - part.start_frame for part in copied) < FRAMES

    packets = video_packets(target)
    units_before, units_after = (payload(path, headers_of(source)) for path in (source, target))
    check_times(packets)
    assert len(packets) == FRAMES
    offset_us = times_us(target)[0] - times_us(source)[0]
    assert times_us(target) == [time_us + offset_us for time_us in times_us(source)]
    assert offset_us == 0 or target.suffix == ".ts" != source.suffix

    before, after = tools.samples(source), tools.samples(target)
    for part in copied:
        frames = slice(part.start_frame, part.stop_frame)
        assert units_after[frames] == units_before[frames]
        assert tools.same_samples(after[frames], before[frames])
        assert not any(start < part.stop_frame and part.start_frame < stop for start, stop in ranges)
    for start, stop in ranges:
        assert all(frame[0][:16].mean() < 20 for frame in after[start:stop])
    others = set(range(FRAMES)) - {frame for part in copied for frame in range(part.start_frame, part.stop_frame)}
    edited = {frame for start, stop in ranges for frame in range(start, stop)}
    for frame in others - edited:
        # Encoded again and not edited: close to the source.
        assert np.abs(after[frame][0].astype(int) - before[frame][0]).mean() < 2 ** (probe(source).bit_depth - 5)

    pictures, complaints = decoded(target)
    assert complaints == []
    assert len(pictures) == FRAMES
    assert seek_everywhere(target, pictures) >= FRAMES // 12
    if target.suffix != ".ts":
        with av.open(str(target)) as container:
            for pts in (pts for pts, _, _, is_key, _ in packets if is_key):
                container.seek(pts, stream=container.streams.video[0])
                first = next(picture for picture in container.decode(video=0) if picture.pts >= pts)
                assert first.pts == pts
                assert np.array_equal(first.to_ndarray(), pictures[pts])


def test_whole_packets_are_kept_where_the_container_stays(tmp_path):
    source = moving_clip(tmp_path / "in.mp4", FRAMES, options={"g": "12"})
    edits = Edits(FRAMES, ((20, 22),))
    write(source, tmp_path / "out.mp4", edits.ranges, edits=edits, smart_copy=True)
    before = {(pts, duration, is_key, data) for pts, _, duration, is_key, data in video_packets(source)}
    after = {(pts, duration, is_key, data) for pts, _, duration, is_key, data in video_packets(tmp_path / "out.mp4")}
    assert len(before & after) == FRAMES - 12


def test_without_loss_every_frame_is_what_was_written(tools, tmp_path):
    source = moving_clip(tmp_path / "in.mp4", FRAMES, "libx265", options=QUIET | {"g": "12"})
    edits = Edits(FRAMES, ((20, 22), (40, 41)))
    writer = write(source, tmp_path / "out.mp4", edits.ranges, edits=edits, smart_copy=True, lossless=True)
    assert 0 < writer.frames_copied < FRAMES
    expected = tools.samples(source)
    for start, stop in edits.ranges:
        for frame in expected[start:stop]:
            frame[0][:20] = 0
    assert tools.same_samples(tools.samples(tmp_path / "out.mp4"), expected)
    pictures, complaints = decoded(tmp_path / "out.mp4")
    assert complaints == []
    seek_everywhere(tmp_path / "out.mp4", pictures)


def test_real_video_with_sound(subtitled, tmp_path):
    source = tmp_path / "in.mp4"
    with av.open(str(subtitled)) as opened:
        pictures = list(opened.decode(video=0))
    sound = [p for p in every_packet(subtitled) if p[0] == 1]
    assert sound
    for picture in pictures:
        picture.pict_type = 0
    with av.open(str(subtitled)) as opened, av.open(str(source), "w") as made:
        video = made.add_stream("libx264", rate=25, options={"g": "20", "crf": "30", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = pictures[0].width, pictures[0].height, pictures[0].format.name
        copied = made.add_stream_from_template(opened.streams.audio[0])
        for picture in pictures:
            made.mux(video.encode(picture))
        made.mux(video.encode(None))
        for packet in opened.demux(audio=0):
            if packet.size:
                packet.stream = copied
                made.mux(packet)
    edits = Edits(len(pictures), ((30, 50),))
    target = tmp_path / "out.mp4"
    writer = write(source, target, edits.ranges, edits=edits, smart_copy=True)
    assert writer.frames_copied >= 60
    assert [p for p in every_packet(target) if p[0] == 1] == [p for p in every_packet(source) if p[0] == 1]
    shown, complaints = decoded(target)
    assert complaints == []
    assert len(shown) == len(pictures)
    assert seek_everywhere(target, shown) >= 5


def test_it_goes_on_where_it_was_interrupted(tmp_path):
    source, target = moving_clip(tmp_path / "in.mp4", FRAMES, options={"g": "12"}), tmp_path / "out.mp4"
    edits = Edits(FRAMES, ((14, 40),))
    options = {"edits": edits, "segment_frames": 10, "smart_copy": True}
    write(source, target, edits.ranges, **options)
    expected, packets = hashed(target), every_packet(target)
    target.unlink()
    with pytest.raises(KeyboardInterrupt):
        write(source, target, edits.ranges, stop=35, **options)
    # Frames 12 to 48 are encoded, in four segments, of which two are finished.
    assert len(list((tmp_path / ".out.mp4.clear_rt-work").glob("*.segment"))) == 2
    write(source, target, edits.ranges, **options)
    assert (hashed(target), every_packet(target)) == (expected, packets)


@pytest.mark.parametrize(
    ("container", "codec", "options", "config", "ranges", "words"),
    [
        ("mp4", "libx265", QUIET, {}, ((0, 1),), "every group of pictures has text"),
        ("webm", "libvpx-vp9", {"cpu-used": "8"}, {}, ((0, 1),), "for H.264 and HEVC, and this is vp9"),
        ("avi", "libx264", {"g": "12", "bf": "0"}, {}, ((0, 1),), "a avi file is none of MP4, MOV, MKV and TS"),
        ("mp4", "libx264", {}, {}, ((3, 4),), "every group of pictures has text"),
        ("mp4", "libx264", {"g": "12", "x264-params": "open-gop=1"}, {}, ((3, 4),), "every group of pictures has text"),
        ("mp4", "libx264", {"g": "12"}, {"lossless": True}, ((0, 1),), "between lossy and lossless H.264"),
        ("mp4", "libx264", {"g": "12", "qp": "0"}, {}, ((0, 1),), "in another profile of H.264"),
        ("mp4", "libx264", {"flags": "+ildct+ilme", "x264-params": "tff=1"}, {}, ((0, 1),), "interlaced"),
    ],
)
def test_why_not(tmp_path, container, codec, options, config, ranges, words):
    frames = 26
    source = moving_clip(tmp_path / f"in.{container}", frames, codec, options=options)
    target = tmp_path / f"out.{container}"
    writer = write(source, target, edits=Edits(frames, ranges), smart_copy=True, **config)
    assert words in writer.why_not_smart_copy
    assert writer.why_not_smart_copy.startswith("no packets were copied, all frames were encoded, because ")
    assert writer.frames_copied == 0
    assert times_us(target) == times_us(source)


def test_why_not_with_sets_that_change_or_frames_that_are_missing(tmp_path):
    parts = [moving_clip(tmp_path / f"{crf}.ts", 10, options={"crf": crf}) for crf in ("20", "30")]
    (tmp_path / "in.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = len(list(read(tmp_path / "in.ts")))
    for total, words in ((frames, "parameter sets change on the way|at the same time"), (3, "packets for 3 frames")):
        source = tmp_path / ("in.ts" if total == frames else "20.ts")
        writer = write(source, tmp_path / "out.ts", edits=Edits(total, ((0, 1),)), smart_copy=True)
        assert any(word in writer.why_not_smart_copy for word in words.split("|"))


def test_frames_that_do_not_come_are_no_result(tmp_path):
    source = moving_clip(tmp_path / "in.mp4", FRAMES, options={"g": "12"})
    frames = list(read(source))[:40]

    def write_some():
        with writing(source, tmp_path / "out.mp4", Edits(FRAMES, ((0, 1),)), smart_copy=True) as writer:
            for frame in frames:
                writer.write(frame)

    with pytest.raises(OutputError, match="needs 60 frames, but got 40"):
        write_some()
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("container", ["mp4", "ts"])
def test_parameter_sets_are_told_apart(tmp_path, container):
    options = {"level": "3.1", "x264-params": "sps-id=0"}
    headers = headers_of(moving_clip(tmp_path / f"in.{container}", 3, options=options))
    options = {"level": "4.1", "x264-params": "sps-id=3"}
    more = header_units("h264", headers_of(moving_clip(tmp_path / "more.ts", 3, options=options)))
    assert (free_number(header_units("h264", headers)), free_number(more)) == (1, 0)
    both = merged("h264", headers, more)
    assert set(header_units("h264", both)) == {*header_units("h264", headers), *more}
    assert length_bytes("h264", both) == length_bytes("h264", headers)
    assert stated_level("h264", headers) == 31
    assert {H264.kind(unit) for unit in header_units("h264", both)} == {7, 8}
    assert free_number(header_units("h264", both)) == 1
    every = [bytes([H264.sps, 0, 0, 0, 0x80])] + [bytes([H264.pps]) + code(number) for number in range(32)]
    assert free_number(every) is None
    assert free_number(every[:-1]) == 31


@pytest.mark.parametrize(
    ("pixel_format", "size", "options"),
    [
        ("yuv420p", (96, 64), {"preset": "fast"}),
        ("yuv420p10le", (320, 192), {"preset": "medium"}),
        ("yuv444p", (200, 130), {"preset": "ultrafast"}),
        ("gray", (96, 64), {"preset": "fast"}),
        ("yuv420p", (96, 64), {"preset": "veryfast", "lossless": "1"}),
    ],
)
def test_other_numbers_change_no_picture(tmp_path, pixel_format, size, options):
    lossless = ":lossless=1" if "lossless" in options else ""
    params = {"x265-params": f"{HEVC}:info=0:weightp=0{lossless}", "preset": options["preset"]}
    source = moving_clip(tmp_path / "in.mp4", 30, "libx265", pixel_format, size, options=params)
    sets = header_units("hevc", headers_of(source))
    slices = hevc_numbers.SliceNumbers(sets, 5)
    own = [hevc_numbers.renumbered_set(unit, 5) for unit in sets]
    assert [hevc_numbers.number_of(unit) for unit in own] == [5, 5, 5]
    assert [hevc_numbers.renumbered_set(unit, 0) for unit in own] == sets
    assert hevc_numbers.free_number([*sets, *own]) == 1
    shown = []
    for headers, change in ((sets, lambda unit: unit), (own, slices.renumbered)):
        decoder = av.CodecContext.create("hevc", "r")
        decoder.extradata, decoder.thread_type = joined(headers), "NONE"
        packets = [av.Packet(joined(map(change, units(data, 4)))) for *_, data in video_packets(source)]
        shown.append([picture for packet in [*packets, None] for picture in decoder.decode(packet)])
    assert len(shown[0]) == len(shown[1]) == 30
    assert all(np.array_equal(a.to_ndarray(), b.to_ndarray()) for a, b in zip(*shown, strict=True))


def test_slices_that_are_not_understood_are_an_error(tmp_path):
    source, other = (
        moving_clip(tmp_path / f"{name}.mp4", 3, "libx265", options={"x265-params": f"{HEVC}:weightp=0:{name}=1"})
        for name in ("sao", "no-sao")
    )
    slices, wrong = (hevc_numbers.SliceNumbers(header_units("hevc", headers_of(path)), 1) for path in (source, other))
    pictures = [unit for *_, data in video_packets(source) for unit in units(data, 4) if unit[0] >> 1 < 32]
    assert all(slices.renumbered(unit) != unit for unit in pictures)
    weighted = moving_clip(tmp_path / "weighted.mp4", 3, "libx265", options={"x265-params": f"{HEVC}:weightp=1"})
    with pytest.raises(ValueError, match="the PPS has weighted prediction"):
        hevc_numbers.SliceNumbers(header_units("hevc", headers_of(weighted)), 1)
    with pytest.raises(ValueError, match="does not end where it should"):
        [wrong.renumbered(unit) for unit in pictures]
    with pytest.raises(ValueError, match="several slices"):
        slices.renumbered(bytes([2, 1, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match="ends within a number"):
        slices.renumbered(bytes([2, 1, 0x80, 0]))


def joined(every):
    return b"".join(b"\0\0\0\1" + unit for unit in every)


def code(number):
    """Exp-Golomb code of `number`, filled up to four bytes."""
    digits = bin(number + 1)[2:]
    text = "0" * (len(digits) - 1) + digits
    return int(text.ljust(32, "1"), 2).to_bytes(4, "big")
