"""Bit rate, profile and level follow the source, and all segments share their headers, whatever their rates are."""

from dataclasses import replace

import av
import pytest

from clear_rt.config import DEFAULT_CRF, WriteConfig
from clear_rt.errors import ConfigError, OutputError
from clear_rt.frames import SegmentedWriter, Work, probe, read
from clear_rt.frames.encoder_options import options_of
from clear_rt.frames.segments.aim import Aim
from clear_rt.frames.segments.source_packets import source_packets
from tests.frames.moving import QUIET, moving_clip, moving_picture, times_us, video_packets, write


def video_bytes(path):
    return sum(len(data) for *_, data in video_packets(path))


@pytest.fixture(scope="module")
def busy_then_still(tmp_path_factory):
    """A clip whose first half takes many times the bits of the second."""

    def make(container, codec, options):
        from tests.frames.conftest import encode, make_picture

        noise = [make_picture("yuv420p", 128, 96, seed) for seed in range(20)]
        still = [moving_picture("yuv420p", 128, 96, 0) for _ in range(40)]
        path = tmp_path_factory.mktemp("rate") / f"in.{container}"
        return encode(path, noise + still, codec=codec, options=options)

    return make


def test_the_size_stays_by_default(subtitled, tmp_path):
    write(subtitled, tmp_path / "out.mp4", segment_frames=50)
    assert video_bytes(tmp_path / "out.mp4") == pytest.approx(video_bytes(subtitled), rel=0.15)


@pytest.mark.parametrize("bits_per_s", [200_000, 2_000_000])
def test_a_rate_that_is_given_is_met(subtitled, tmp_path, bits_per_s):
    write(subtitled, tmp_path / "out.mp4", segment_frames=50, bitrate=bits_per_s)
    seconds = len(times_us(subtitled)) / float(probe(subtitled).rate)
    assert 8 * video_bytes(tmp_path / "out.mp4") / seconds == pytest.approx(bits_per_s, rel=0.25)


def test_quality_comes_before_rate(subtitled, tmp_path):
    sizes = []
    for options in ({"crf": 40}, {"crf": 40, "bitrate": 5_000_000}):
        write(subtitled, tmp_path / "out.mp4", **options)
        sizes.append(video_bytes(tmp_path / "out.mp4"))
    assert sizes[0] == sizes[1] < video_bytes(subtitled) / 2


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("mp4", "libx264", {"crf": "12"}),
        ("mkv", "libx265", QUIET | {"crf": "14"}),
        ("ts", "libx264", {"crf": "12"}),
        ("webm", "libvpx-vp9", {"crf": "10", "b": "0", "cpu-used": "8"}),
        ("mp4", "libsvtav1", {"preset": "12", "crf": "20"}),
    ],
)
def test_segments_with_other_rates_have_the_same_headers(busy_then_still, tmp_path, container, codec, options):
    source = busy_then_still(container, codec, options)
    info, target = probe(source), tmp_path / f"out.{container}"
    aim = Aim(info, WriteConfig(), codec)
    rates = [aim.of(start, start + 20).bitrate for start in (0, 20, 40)]
    assert rates[0] > 5 * rates[2] >= aim.bits_per_s
    write(source, target, segment_frames=20)
    assert times_us(target)[-1] - times_us(target)[0] == times_us(source)[-1] - times_us(source)[0]
    sizes = [len(data) for *_, data in sorted(video_packets(target))]
    assert sum(sizes[:20]) > 3 * sum(sizes[20:])


@pytest.mark.parametrize(
    ("pixel_format", "options", "profile"),
    [
        ("yuv420p", {"profile": "baseline"}, "Constrained Baseline"),
        ("yuv420p", {"profile": "main"}, "Main"),
        ("yuv420p", {}, "High"),
        ("yuv420p10le", {}, "High 10"),
        ("yuv422p10le", {}, "High 4:2:2"),
    ],
)
def test_profile_and_level_of_h264_are_kept(tmp_path, pixel_format, options, profile):
    options = options | {"level": "4.1"}
    source = moving_clip(tmp_path / "in.mp4", 9, pixel_format=pixel_format, options=options)
    assert (probe(source).profile, probe(source).level) == (profile, 41)
    write(source, tmp_path / "out.mp4")
    found = probe(tmp_path / "out.mp4")
    assert (found.profile, found.level, found.pixel_format) == (profile, 41, pixel_format)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "profile"),
    [("libx265", "yuv420p10le", "Main 10"), ("libx265", "yuv422p10le", "Rext"), ("libsvtav1", "yuv420p10le", "Main")],
)
def test_ten_bits_are_kept(tmp_path, codec, pixel_format, profile):
    options = QUIET | {"preset": "ultrafast"} if codec == "libx265" else {"preset": "12"}
    source = moving_clip(tmp_path / "in.mp4", 9, codec, pixel_format, (64, 64), options=options)
    assert probe(source).profile == profile
    writer = write(source, tmp_path / "out.mp4")
    found = probe(tmp_path / "out.mp4")
    assert writer.encoder == codec
    assert (found.profile, found.pixel_format, found.bit_depth) == (profile, pixel_format, 10)


def test_another_codec_is_encoded_by_quality(clip, tmp_path):
    source = probe(clip("in.mkv", frames=5, codec="mpeg4"))
    assert Aim(source, WriteConfig(), "libx264").bits_per_s is None
    assert Aim(source, WriteConfig(bitrate=50_000), "libx264").bits_per_s == 50_000
    assert Aim(source, WriteConfig(lossless=True), "libx264").bits_per_s is None
    assert options_of("libx264", WriteConfig(), source, "mp4")["crf"] == str(DEFAULT_CRF)


def test_rates_are_counted_from_packets(tmp_path):
    source = moving_clip(tmp_path / "in.mp4", 50, uneven=True)
    packets = source_packets(probe(source))
    stated = sum(len(data) for *_, data in video_packets(source))
    assert packets.sizes_bytes.sum() == stated
    assert packets.bits_per_s == pytest.approx(8 * stated / (packets.times_s[-1] - packets.times_s[0]))
    assert packets.between(60, 70) == packets.bits_per_s
    assert len(packets.times_s) == 51


@pytest.mark.parametrize("options", [{"bitrate": 10}, {"bitrate": 3_000_000_000}, {"crf": 52}])
def test_senseless_numbers_are_refused(options):
    with pytest.raises(ConfigError, match=r"must be .*, got"):
        WriteConfig(**options)


def test_too_little_room_is_known_before_anything_is_written(tmp_path):
    source = moving_clip(tmp_path / "in.mp4", 9)
    # A year at 2 Gbit/s.
    info, target = replace(probe(source), duration_us=365 * 86_400 * 1_000_000), tmp_path / "out.mp4"
    with (
        pytest.raises(OutputError, match=r"^writing .* takes about \d+\.\d GB .*, but .* has .*; make room"),
        Work(source, target, {}) as work,
        SegmentedWriter(info, target, WriteConfig(bitrate=2_000_000_000), work),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_the_plain_writer_takes_quality_and_numbers(tools, subtitled, tmp_path):
    assert len(list(read(subtitled))) == 100
    sizes = []
    for options in ({}, {"crf": DEFAULT_CRF}, {"bitrate": 300_000}):
        tools.rewrite(subtitled, tmp_path / "out.mp4", **options)
        sizes.append(video_bytes(tmp_path / "out.mp4"))
    assert sizes[0] == sizes[1] > sizes[2]
    assert av.codec.Codec("libx264", "w").canonical_name == "h264"
