"""Recordings that were joined, `cat a.ts b.ts > c.ts`: sound and picture stay as far apart as they were in each."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clear_rt
from clear_rt.config import RegionConfig, RunConfig, WriteConfig
from clear_rt.frames import Writer, copy, probe, read, write_png
from clear_rt.frames.clock import Clock
from tests.frames.moving import write

RATE, SAMPLES_PER_S = 25, 48_000
PICTURE_ENCODERS = {"ts": "libx264", "mpg": "mpeg2video", "mkv": "libx264"}


def recording(
    path, picture_s, sound_s, start_s=0.0, seed=0, sound="mp2", sound_start_s=0.0, missing=(), lines=0, **options
):
    """Pictures whose brightness is their number, and noise for sound, so that no two packets are the same.

    `missing` are the numbers of pictures that are not there; `lines` of text begin every fifth of a second.
    """
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        encoder = PICTURE_ENCODERS[path.suffix[1:]]
        options = {"bf": "2", "g": "12", **options} | ({"preset": "ultrafast"} if encoder == "libx264" else {})
        video = container.add_stream(encoder, rate=RATE, options=options)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(sound, rate=SAMPLES_PER_S)
        packets = list(text_packets(container, lines, seed)) if lines else []
        for number in set(range(round(picture_s * RATE))) - set(missing):
            picture = av.VideoFrame.from_ndarray(np.full((72, 64), brightness(number), np.uint8), "yuv420p")
            picture.pts, picture.time_base = number + round(start_s * RATE), Fraction(1, RATE)
            packets += video.encode(picture)
        packets += video.encode()
        size = audio.codec_context.frame_size or 1152
        for at in range(0, round(sound_s * SAMPLES_PER_S), size):
            noise = rng.integers(-9000, 9000, (1, 2 * size)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(noise, "s16", "stereo")
            frame.sample_rate, frame.time_base = SAMPLES_PER_S, Fraction(1, SAMPLES_PER_S)
            frame.pts = at + round((start_s + sound_start_s) * SAMPLES_PER_S)
            packets += audio.encode(frame)
        packets += audio.encode()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def text_packets(container, lines, seed):
    stream = container.add_mux_stream("subrip", time_base=Fraction(1, 1000))
    for number in range(lines):
        packet = av.Packet(f"line {number} of {seed}".encode())
        packet.pts = packet.dts = 200 * number
        packet.duration, packet.time_base, packet.stream = 100, Fraction(1, 1000), stream
        yield packet


def brightness(number):
    return 20 + 7 * number % 210


def join(target, *parts):
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    return target


def picture_times(path):
    return [Fraction(frame.time_us, 1_000_000) for frame in read(path)]


def sound_times(path, kind="audio"):
    """The time of every packet of sound, or of a stream of another kind, by its content."""
    with av.open(str(path)) as container:
        return {bytes(p): p.pts * p.time_base for p in container.demux(**{kind: 0}) if p.size}


def moved_by(target, parts):
    """(of the pictures, of the sound): by which times those of each part are later in `target`.

    No picture is missing. Of the sound, None where there is nothing of a part.
    """
    pictures, sound = picture_times(target), sound_times(target)
    assert len(pictures) == sum(len(picture_times(part)) for part in parts)
    assert all(b > a for a, b in itertools.pairwise(pictures))
    at = 0
    for part in parts:
        before = picture_times(part)
        after = pictures[at : at + len(before)]
        at += len(before)
        own = [sound[data] - time_s for data, time_s in sound_times(part).items() if data in sound]
        yield [b - a for a, b in zip(before, after, strict=True)], own


def check_together(target, parts, rounding_s=0.002):
    """All of a part is moved by the same, but for what containers round: 1 ms in Matroska and in MP4's time table."""
    for pictures, sound in moved_by(target, parts):
        assert sound
        assert max(pictures + sound) - min(pictures + sound) <= rounding_s


def by_copy(source, target):
    return copy(source, target)


def by_segments(source, target):
    return write(source, target).dropped_streams


def by_writer(source, target):
    with Writer(probe(source), target, WriteConfig()) as writer:
        for frame in read(source):
            writer.write(frame)
    return writer.dropped_streams


# Of each recording the picture's and the sound's seconds, and what else is said of it.
JOINED = {
    "more sound than picture": [(1, 1.3, {}), (1, 1, {})],
    "more picture than sound": [(1.2, 0.7, {}), (1, 1, {})],
    "three, each begins earlier": [
        (1, 1.3, {"start_s": 5}),
        (1, 0.7, {"start_s": 3}),
        (1, 1, {"start_s": 1, "sound_start_s": 0.2}),
    ],
    "sound begins before the picture": [(1, 0.7, {"start_s": 3}), (1, 1, {"start_s": 1, "sound_start_s": -0.2})],
    "only the picture steps back": [(1, 0.4, {}), (1, 1, {"start_s": 0.7})],
    "two frames of overlap": [(1, 0.9, {}), (1, 1, {"start_s": 0.96})],
    "recordings of a few frames": [(0.2, 0.1, {}), (0.12, 0.2, {}), (1, 1, {})],
    "pictures are missing": [(1, 1, {}), (1.4, 1.4, {"missing": (3, 4, 5, 20, 21, 22, 23)})],
    "reordered otherwise": [(1, 1, {"bf": "0"}), (1, 1, {"bf": "4"}), (1, 1, {"bf": "0"})],
    "before the first time of the file": [
        (1, 1.3, {"start_s": 1000}),
        (1, 1, {"start_s": 3}),
        (1, 1, {"start_s": 2000}),
    ],
    "past 33 bits": [(1.4, 1.3, {"start_s": 95_443}), (1, 1, {})],
    "no joint but a jump forward": [(1, 1.3, {}), (1, 1, {"start_s": 30})],
    "AC-3": [(1, 1.3, {"sound": "ac3"}), (1, 1, {"sound": "ac3"})],
}


def recordings(folder, described, suffix="ts"):
    return [
        recording(folder / f"{number}.{suffix}", picture_s, sound_s, seed=number, **options)
        for number, (picture_s, sound_s, options) in enumerate(described)
    ]


@pytest.mark.parametrize("how", [by_copy, by_segments])
@pytest.mark.parametrize("name", JOINED)
def test_sound_and_picture_stay_together(tmp_path, name, how):
    parts = recordings(tmp_path, JOINED[name])
    how(join(tmp_path / "in.ts", *parts), tmp_path / "out.ts")
    check_together(tmp_path / "out.ts", parts)


@pytest.mark.parametrize(
    ("source", "target", "how"),
    [
        ("ts", "mp4", by_copy),
        ("ts", "mkv", by_copy),
        ("ts", "mp4", by_segments),
        ("ts", "mkv", by_writer),
        ("mpg", "mkv", by_copy),
        ("mpg", "ts", by_segments),
        ("mkv", "mkv", by_writer),
    ],
)
def test_containers(tmp_path, source, target, how):
    parts = recordings(tmp_path, JOINED["more sound than picture"], source)
    how(join(tmp_path / f"in.{source}", *parts), tmp_path / f"out.{target}")
    check_together(tmp_path / f"out.{target}", parts)


def test_text_is_moved_as_the_picture_is(tmp_path):
    parts = recordings(tmp_path, [(1.2, 1, {"lines": 4}), (1, 1.3, {"lines": 5})], "mkv")
    by_segments(join(tmp_path / "in.mkv", *parts), tmp_path / "out.mkv")
    after = sound_times(tmp_path / "out.mkv", "subtitles")
    for part, moved_s in zip(parts, (0, 1.2), strict=True):
        assert {data: after[data] - moved_s for data in sound_times(part, "subtitles")} == pytest.approx(
            sound_times(part, "subtitles"), abs=0.001
        )
    check_together(tmp_path / "out.mkv", parts)


def test_remove(tmp_path):
    """The pictures are those of the source outside the mask, in their order."""
    parts = recordings(tmp_path, JOINED["three, each begins earlier"])
    source, target, mask = join(tmp_path / "in.ts", *parts), tmp_path / "out.mkv", np.zeros((48, 64, 3), np.uint8)
    mask[36:44, 16:48] = 255
    write_png(tmp_path / "mask.png", mask)
    config = RunConfig(region=RegionConfig(mask=tmp_path / "mask.png"), write=WriteConfig(lossless=True))
    assert clear_rt.remove(source, target, config).frames == 3 * RATE
    check_together(target, parts)
    seen = [frame.planes[0].samples[0, 0] for frame in read(target)]
    assert np.max(np.abs(np.array(seen, int) - [brightness(number % RATE) for number in range(3 * RATE)])) <= 2


@pytest.mark.parametrize("how", [by_copy, by_segments, by_writer])
def test_sound_that_overlaps_is_left_out_and_reported(tmp_path, how):
    """1.3 s of sound beside 1 s of picture, and the next recording's sound is missing until that has ended."""
    parts = recordings(tmp_path, [(1, 1.3, {}), (1, 1, {})])
    sentences = how(join(tmp_path / "in.ts", *parts), tmp_path / "out.ts")
    first, second = map(sound_times, parts)
    after, packet_s = sound_times(tmp_path / "out.ts"), Fraction(1152, SAMPLES_PER_S)
    assert first.items() <= after.items()
    left_out = [time_s for data, time_s in second.items() if data not in after]
    end_s = max(first.values()) + packet_s
    assert left_out == sorted(second.values())[: len(left_out)]
    assert end_s <= min(after[data] for data in second if data in after) < end_s + packet_s
    (sentence,) = sentences
    lost_s, at_s = float(len(left_out) * packet_s), float(min(left_out) + 1)
    assert sentence.startswith(f"{lost_s:.2f} s of stream 1 (audio, mp2) at {at_s:.2f} s were left out: ")


def test_nothing_is_reported_where_nothing_overlaps(tmp_path):
    parts = recordings(tmp_path, JOINED["more picture than sound"])
    assert by_copy(join(tmp_path / "in.ts", *parts), tmp_path / "out.ts") == ()


def transport_packets(path, pid=None):
    """The 188 bytes each of TS, all or those of one stream."""
    data = path.read_bytes()
    every = [data[at : at + 188] for at in range(0, len(data), 188)]
    return [one for one in every if pid is None or pid_of(one) == pid]


def pid_of(packet):
    return int.from_bytes(packet[1:3], "big") & 0x1FFF


PICTURE_PID, SOUND_PID = 256, 257


@pytest.mark.parametrize("later_s", [-0.5, -0.2, 0.3, 0.6])
def test_streams_that_change_over_at_different_bytes(tmp_path, later_s):
    """All sound stands in the file earlier or later than it should, so it reaches the joint before or after."""
    parts = recordings(tmp_path, [(2, 2, {"start_s": 10}), (2, 2, {"start_s": 4})])
    every = [one for part in parts for one in transport_packets(part)]
    sound = [at for at, one in enumerate(every) if pid_of(one) == SOUND_PID]
    places = [at + later_s * len(every) / 4 if at in set(sound) else at for at in range(len(every))]
    in_order = sorted(range(len(every)), key=lambda at: (places[at], at))
    (tmp_path / "in.ts").write_bytes(b"".join(every[at] for at in in_order))
    for how in (by_copy, by_segments):
        how(tmp_path / "in.ts", tmp_path / "out.ts")
        check_together(tmp_path / "out.ts", parts)


@pytest.mark.parametrize("first", [2, 3, 5])
def test_recording_that_begins_between_key_pictures(tmp_path, first):
    """Its first pictures are decoded with what there is, and the sound is as far from them as ever."""
    parts = recordings(tmp_path, JOINED["more sound than picture"])
    begun, kept = 0, []
    for one in transport_packets(parts[1]):
        begun += pid_of(one) == PICTURE_PID and one[1] >> 6 & 1
        kept += [one] if begun >= first or pid_of(one) != PICTURE_PID else []
    (tmp_path / "late.ts").write_bytes(b"".join(kept))
    source = join(tmp_path / "in.ts", parts[0], tmp_path / "late.ts")
    with av.open(str(tmp_path / "late.ts")) as container:
        end_s = max(packet.pts * packet.time_base for packet in container.demux(video=0) if packet.size)
    for how in (by_copy, by_segments):
        how(source, tmp_path / "out.ts")
        moved_s = picture_times(tmp_path / "out.ts")[-1] - end_s
        after = sound_times(tmp_path / "out.ts")
        sound = [after[data] - time_s for data, time_s in sound_times(parts[1]).items() if data in after]
        assert sound
        assert max(abs(one - moved_s) for one in sound) <= 0.001


@pytest.mark.parametrize("how", [by_copy, by_segments])
def test_sound_alone_begins_again(tmp_path, how):
    """The picture goes on, so the sound does too, where it ended."""
    whole, *sounds = recordings(tmp_path, [(2, 2, {}), (1, 1, {}), (1, 1, {})])
    packets = iter([one for part in sounds for one in transport_packets(part, SOUND_PID)])
    every = [next(packets, b"") if pid_of(one) == SOUND_PID else one for one in transport_packets(whole)]
    (tmp_path / "in.ts").write_bytes(b"".join([*every, *packets]))
    assert how(tmp_path / "in.ts", tmp_path / "out.ts") == ()
    after = sound_times(tmp_path / "out.ts")
    assert len(after) == sum(len(sound_times(part)) for part in sounds)
    steps = {b - a for a, b in itertools.pairwise(after.values())}
    assert steps == {Fraction(1152, SAMPLES_PER_S)}
    assert picture_times(tmp_path / "out.ts") == picture_times(whole)


def test_picture_ends_long_before_the_sound(tmp_path):
    """What waits for the next picture is bounded, and nothing of it is lost."""
    parts = recordings(tmp_path, [(0.2, 14, {}), (1, 1, {"sound_start_s": 13.9})])
    by_copy(join(tmp_path / "in.ts", *parts), tmp_path / "out.ts")
    check_together(tmp_path / "out.ts", parts)


def stamped(stamps):
    clock = Clock(Fraction(1, 100), Fraction(25))
    return [clock.stamp(pts) for pts in stamps]


@given(st.lists(st.lists(st.integers(3, 30), min_size=1, max_size=20), min_size=2, max_size=4), st.data())
def test_clock_moves_each_recording_as_a_whole(steps, data):
    """Each ends 20 frames or more before where the last one ended, and follows it by a frame."""
    given_stamps, expected, last = [], [], None
    for one in steps:
        start = 0 if last is None else given_stamps[-1] - sum(one) - data.draw(st.integers(80, 5000))
        stamps = [start + sum(one[:count]) for count in range(len(one) + 1)]
        shift = 0 if last is None else last + 4 - start
        given_stamps += stamps
        expected += [pts + shift for pts in stamps]
        last = expected[-1]
    assert stamped(given_stamps) == expected


@pytest.mark.parametrize("wrong", [[0], [0, 4, 8], [92], [96, 88], [0, 50]])
def test_clock_returns_after_wrong_stamps(wrong):
    """100, 104, 108, wrong ones, and on: later frames have the stamps they say."""
    after = [112 + 4 * (len(wrong) + at) for at in range(40)]
    assert stamped([100, 104, 108, *wrong, *after])[-15:] == after[-15:]


def test_clock_with_frames_out_of_order_does_not_drift():
    stamps = [4 * at for at in range(200)]
    for at in range(5, 195, 12):
        stamps[at : at + 3] = stamps[at + 2], stamps[at], stamps[at + 1]
    assert abs(stamped(stamps)[-1] - stamps[-1]) <= 4
