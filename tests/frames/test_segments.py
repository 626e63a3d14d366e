"""A video in segments: the same file as from one encoder, but for where key pictures are."""

import itertools
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet
from hypothesis import given
from hypothesis import strategies as st

from clear_rt.errors import OutputError
from clear_rt.frames import SegmentPlan, probe, read
from clear_rt.frames.segments.plan import split
from clear_rt.frames.segments.reorder import decoding_times, reorder_depth
from tests.frames.moving import QUIET, check_times, every_packet, moving_clip, times_us, video_packets, write, writing

CASES = [
    ("mp4", "libx264", "yuv420p", (96, 64), {"bf": "3"}, False),
    ("mp4", "libx264", "yuv420p10le", (96, 64), {}, True),
    ("mov", "libx264", "yuv422p10le", (66, 46), {"bf": "8"}, True),
    ("mkv", "libx264", "yuv444p", (65, 47), {}, True),
    ("ts", "libx264", "yuv420p", (96, 64), {}, False),
    ("avi", "libx264", "yuv420p", (96, 64), {"bf": "0"}, False),
    ("mp4", "libx265", "yuv420p10le", (96, 64), QUIET, False),
    ("mkv", "libx265", "yuv422p10le", (96, 64), QUIET, True),
    ("ts", "libx265", "yuv420p", (96, 64), QUIET, False),
    ("webm", "libvpx-vp9", "yuv420p", (96, 64), {"cpu-used": "8", "deadline": "realtime"}, True),
    ("mp4", "libsvtav1", "yuv420p10le", (64, 64), {"preset": "12", "crf": "40"}, False),
    ("mkv", "ffv1", "yuv420p10le", (63, 47), {}, True),
]


@pytest.mark.parametrize(("container", "codec", "pixel_format", "size", "options", "uneven"), CASES)
def test_it_is_the_file_that_one_encoder_writes(tools, tmp_path, container, codec, pixel_format, size, options, uneven):
    frames = 24
    source = moving_clip(
        tmp_path / f"in.{container}", frames, codec, pixel_format, size, uneven=uneven, options=options
    )
    whole, parts = tmp_path / f"whole.{container}", tmp_path / f"parts.{container}"
    tools.rewrite(source, whole, crf=30)
    writer = write(source, parts, crf=30)
    assert writer.dropped_streams == ()
    assert times_us(parts) == times_us(source)
    assert len(times_us(parts)) == frames
    before, after = video_packets(whole), video_packets(parts)
    check_times(after)
    assert sorted(pts for pts, *_ in after) == sorted(pts for pts, *_ in before)
    if container not in ("mp4", "mov"):
        # These two state the time from one decoding to the next instead of durations.
        assert sorted(packet[:3:2] for packet in after) == sorted(packet[:3:2] for packet in before)
    if codec != "ffv1":
        keys = sorted(pts for pts, _, _, is_key, _ in after if is_key)
        shown = sorted(pts for pts, *_ in after)
        assert set(keys) >= {shown[i] for i in (0, 7, 14, 21)}
    one, several = (replace(probe(path), path=source) for path in (whole, parts))
    if container == "mov":
        # Its B-frames come late by one frame instead of two, and the length is counted in times of decoding.
        assert abs(one.duration_us - several.duration_us) < 500_000
        several = replace(several, rate=one.rate, duration_us=one.duration_us, declared_end_us=one.declared_end_us)
    assert several == one
    assert [path.name for path in sorted(tmp_path.iterdir())] == sorted([source.name, whole.name, parts.name])


@pytest.mark.parametrize(("container", "codec"), [("mp4", "libx264"), ("mkv", "libx265"), ("avi", "libx264")])
def test_unedited_frames_are_kept_without_loss(tools, tmp_path, container, codec):
    options = QUIET if codec == "libx265" else {"bf": "0"}
    source = moving_clip(tmp_path / f"in.{container}", 20, codec, options=options)
    write(source, tmp_path / f"out.{container}", lossless=True)
    assert tools.same_samples(tools.samples(source), tools.samples(tmp_path / f"out.{container}"))


@pytest.mark.parametrize("frames", [1, 2, 7, 8])
@pytest.mark.parametrize("container", ["mp4", "ts", "avi"])
def test_shortest_clips(tmp_path, frames, container):
    source = moving_clip(tmp_path / f"in.{container}", frames, options={"bf": "0"})
    target = tmp_path / f"out.{container}"
    write(source, target)
    # FFmpeg's muxer for TS begins with the first decoding at 0.
    offset_us = times_us(target)[0] - times_us(source)[0] if container == "ts" else 0
    assert times_us(target) == [time_us + offset_us for time_us in times_us(source)]


def test_turned_pictures_stay_turned(tmp_path):
    source = moving_clip(tmp_path / "in.mp4", 9, setup=lambda stream: stream.set_display_rotation(-90))
    write(source, tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").display_matrix == probe(source).display_matrix
    assert probe(source).rotation_degrees == 90


def beside(container):
    """Sound, lines of text, a font, chapters and a title."""
    sound = container.add_stream("aac", rate=48000)
    sound.metadata["language"] = "deu"
    text = container.add_mux_stream("subrip", time_base=Fraction(1, 1000))
    container.add_attachment("font.ttf", "application/x-truetype-font", bytes(range(256)))
    chapter = {"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": "終"}}
    container.set_chapters([chapter])
    container.metadata["title"] = "Prüfung"

    def feed():
        rng = np.random.default_rng(3)
        for index in range(40):
            data = rng.normal(0, 0.1, (1, 1024)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(data, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, index * 1024, Fraction(1, 48000)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        for index in range(5):
            packet = Packet(f"line {index}".encode())
            packet.pts = packet.dts = 150 * index
            packet.duration, packet.time_base, packet.stream = 100, Fraction(1, 1000), text
            container.mux(packet)

    return feed


def test_everything_beside_the_picture_is_kept(tools, tmp_path):
    source = moving_clip(tmp_path / "in.mkv", 22, others=beside)
    target = tmp_path / "out.mkv"
    assert write(source, target).dropped_streams == ()
    for kind in ("audio", "subtitle"):
        assert tools.packets(target, kind) == tools.packets(source, kind)
        assert tools.packets(source, kind)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        assert after.metadata["title"] == before.metadata["title"]
        assert after.chapters() == before.chapters()
        assert [(s.type, s.language) for s in after.streams] == [(s.type, s.language) for s in before.streams]
        assert [s.data for s in after.streams if s.type == "attachment"] == [bytes(range(256))]


def test_streams_are_interleaved_over_the_borders_of_segments(subtitled, tmp_path):
    target = tmp_path / "out.mp4"
    write(subtitled, target, segment_frames=25, crf=40)
    with av.open(str(target)) as container:
        order = [float(p.dts * p.time_base) for p in container.demux() if p.size]
    assert max(a - b for a, b in itertools.pairwise(order)) < 0.5
    sound = [[p for p in every_packet(path) if p[0] == 1] for path in (subtitled, target)]
    assert sound[0] == sound[1]
    assert len(sound[0]) > 100


def test_what_the_container_refuses_is_known_at_once(tmp_path):
    source = moving_clip(tmp_path / "in.mkv", 9, others=beside)
    with writing(source, tmp_path / "out.mp4") as writer:
        assert len(writer.dropped_streams) == 2
        for frame in read(source):
            writer.write(frame)
    assert len(writer.dropped_streams) == 2


def test_frames_out_of_order_and_none_at_all(tmp_path):
    source = moving_clip(tmp_path / "in.mp4", 9)
    frames = list(read(source))
    with (
        pytest.raises(ValueError, match="expected frame 0, got 3"),
        writing(source, tmp_path / "out.mp4") as writer,
    ):
        writer.write(frames[3])
    with (
        pytest.raises(OutputError, match="it got no frame"),
        writing(source, tmp_path / "out.mp4"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_an_old_target_stays_until_the_new_one_is_whole(tmp_path):
    source = moving_clip(tmp_path / "in.mp4", 20)
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write(source, target, stop=15)
    assert target.read_bytes() == b"old"
    write(source, target)
    assert len(times_us(target)) == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


MEMORY = """
import resource, sys
from tests.frames.moving import writing
from clear_rt.frames import read

with writing(sys.argv[1], sys.argv[2], segment_frames=20, crf=30) as writer:
    for frame in read(sys.argv[1]):
        writer.write(frame)
        if frame.index == 100:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_segments(tmp_path):
    source = moving_clip(tmp_path / "in.mp4", 30, size=(480, 270), options={"preset": "ultrafast"})
    with av.open(str(source)) as short, av.open(str(tmp_path / "long.mp4"), "w") as long:
        copied = long.add_stream_from_template(short.streams.video[0], opaque=True)
        packets = [packet for packet in short.demux(video=0) if packet.size]
        for turn in range(12):
            for packet in packets:
                again = Packet(bytes(packet))
                again.pts, again.dts = packet.pts + 30 * 512 * turn, packet.dts + 30 * 512 * turn
                again.duration, again.time_base, again.stream = 512, packet.time_base, copied
                again.is_keyframe = packet.is_keyframe
                long.mux(again)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "long.mp4"), str(tmp_path / "out.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    assert len(times_us(tmp_path / "out.mp4")) == 360
    # An encoder that stays behind costs 10 MB, and there are thirteen more of them; the pictures would be 50 MB.
    assert int(done.stdout) < 12_000


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.randoms(use_true_random=False), st.integers(0, 5))
def test_decoding_times_grow_and_are_never_late(steps, random, spread):
    pts = list(itertools.accumulate(steps))
    # Packets move back by at most `spread` places, as behind B-frames.
    order = sorted(range(len(pts)), key=lambda i: i + random.randint(0, spread))
    decoded = np.array([pts[i] for i in order], np.int64)
    depth = reorder_depth(decoded)
    times = decoding_times(decoded, depth)
    assert len(times) == len(decoded)
    assert np.all(np.diff(times) > 0)
    assert np.all(times <= decoded)
    assert depth or np.array_equal(times, decoded)


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(1, 300))
def test_plans_cover_all_frames_once(start, length, segment_frames):
    parts = split(start, start + length, segment_frames)
    assert [part.start_frame for part in parts] == [start, *(part.stop_frame for part in parts[:-1])]
    assert parts[-1].stop_frame == start + length
    assert max(part.stop_frame - part.start_frame for part in parts) <= segment_frames
    plan = SegmentPlan(segment_frames=segment_frames)
    segments = plan.until(length)
    assert sum(segment.stop_frame - segment.start_frame for segment in segments) == length
    assert all(plan.at(frame).start_frame <= frame < plan.at(frame).stop_frame for frame in (0, length, start))
