"""Time stamps, frame counts and the way a picture is turned."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_rt.errors import InputError
from clear_rt.frames import copy, probe, read
from clear_rt.frames.clock import Clock
from clear_rt.frames.orientation import Orientation

VFR = [0, 700, 1100, 2400, 2500, 9000, 9300, 12000]


def times_us(path):
    return [frame.time_us for frame in read(path)]


@pytest.mark.parametrize(("container", "codec"), [("mp4", "libx264"), ("mov", "libx265"), ("mkv", "libx264")])
@pytest.mark.parametrize("start", [0, 6400])
def test_variable_rate_is_kept(clip, tools, tmp_path, container, codec, start):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    stamps = [start + pts for pts in VFR]
    source = clip(
        f"in.{container}", frames=8, codec=codec, stamps=stamps, time_base=Fraction(1, 12800), options=options
    )
    target = tmp_path / f"out.{container}"
    tools.rewrite(source, target)
    assert times_us(target) == times_us(source)
    assert len(times_us(target)) == 8
    assert probe(target).time_base == probe(source).time_base


def test_last_duration_is_kept(clip, tools, tmp_path):
    source = clip("in.mkv", frames=3, stamps=[0, 40, 80], time_base=Fraction(1, 1000))
    tools.rewrite(source, tmp_path / "out.mkv")
    assert probe(tmp_path / "out.mkv").duration_us == probe(source).duration_us


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("container", ["mp4", "mkv", "avi", "ts", "webm"])
def test_shortest_clips(clip, tools, tmp_path, frames, container):
    codec = "libvpx-vp9" if container == "webm" else "libx264"
    source = clip(f"in.{container}", frames=frames, codec=codec)
    tools.rewrite(source, tmp_path / f"out.{container}")
    copy(source, tmp_path / f"copy.{container}")
    assert len(times_us(source)) == frames
    assert len(times_us(tmp_path / f"out.{container}")) == frames
    assert times_us(tmp_path / f"copy.{container}") == times_us(source)


def test_avi_with_reordered_frames_has_growing_even_times(clip):
    source = clip("in.avi", frames=12, codec="libx264", options={"bf": "3"})
    steps = np.diff(times_us(source))
    assert set(steps) == {40_000}


@given(st.lists(st.none() | st.integers(-50, 400), min_size=1, max_size=40))
def test_clock_always_grows_and_leaves_growing_stamps_alone(stamps):
    clock = Clock(Fraction(1, 100), Fraction(25))
    out = [clock.stamp(pts) for pts in stamps]
    assert all(b > a for a, b in itertools.pairwise(out))
    growing = sorted({pts for pts in stamps if pts is not None})
    clock = Clock(Fraction(1, 100), Fraction(25))
    assert [clock.stamp(pts) for pts in growing] == growing


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_rotation_is_shown_upright_and_kept(clip, tools, tmp_path, degrees, container):
    def turn(stream):
        stream.set_display_rotation(-degrees)

    source = clip(f"in.{container}", "yuv422p", 48, 32, frames=3, codec="libx264", setup=turn, options={"qp": "0"})
    target = tmp_path / f"out.{container}"
    tools.rewrite(source, target, lossless=True)
    before, after = probe(source), probe(target)
    assert before.rotation_degrees == after.rotation_degrees == degrees
    assert (before.width_px, before.height_px) == ((32, 48) if degrees in (90, 270) else (48, 32))
    assert after.display_matrix == before.display_matrix
    assert tools.same_samples(tools.samples(source), tools.samples(target))
    frame = next(read(source))
    stored = tools.make_picture("yuv422p", 48, 32, 0).to_ndarray()[:32]
    assert np.array_equal(frame.planes[0].samples, np.rot90(stored, -degrees // 90))
    steps = {(plane.step_x_px, plane.step_y_px) for plane in frame.planes[1:]}
    assert steps == ({(1, 2)} if degrees in (90, 270) else {(2, 1)})
    assert frame.rgb(before.height_px, before.width_px).shape == (before.height_px, before.width_px, 3)


def test_rgb_is_turned_like_the_planes(clip):
    source = clip("in.mp4", "yuv444p", 48, 32, frames=1, codec="libx264", setup=lambda s: s.set_display_rotation(-90))
    frame = next(read(source))
    grey, luma = frame.rgb(48, 32).mean(axis=2), frame.planes[0].samples
    assert np.corrcoef(grey.ravel(), luma.ravel())[0, 1] > 0.5
    assert grey[:8].mean() < grey[-8:].mean()


@given(st.booleans(), st.booleans(), st.booleans())
def test_matrix_to_orientation(transpose, flip_x, flip_y):
    sign_x, sign_y = (-1 if flip else 1 for flip in (flip_x, flip_y))
    matrix = [0, sign_y, 0, sign_x, 0, 0, 0, 0, 1] if transpose else [sign_x, 0, 0, 0, sign_y, 0, 0, 0, 1]
    found = Orientation.from_matrix([65536 * v for v in matrix])
    assert found == Orientation(transpose, flip_x, flip_y)
    picture = np.arange(12).reshape(3, 4)
    turned = np.rot90(picture, -found.rotation_degrees // 90)
    assert np.array_equal(found.upright(picture), turned[:, ::-1] if found.mirrored else turned)


@pytest.mark.parametrize("container", ["nut", "wmv", "mkv", "mp4", "mov", "flv", "ts"])
@pytest.mark.parametrize("start_frame", [0, 75])
def test_late_start_is_not_cut_short(clip, container, start_frame):
    codec = "mpeg4" if container == "wmv" else "libx264"
    stamps = [start_frame + index for index in range(50)]
    source = clip(f"in.{container}", frames=50, codec=codec, stamps=stamps)
    assert len(times_us(source)) == 50
    info = probe(source)
    assert abs(info.duration_us - 2_000_000) <= 160_000
    if info.declared_end_us is not None:
        assert abs(info.declared_end_us - 40_000 * (start_frame + 50)) <= 160_000


def test_late_start_of_mkv_without_duration_tags(clip):
    source = clip("in.mkv", frames=50, stamps=[75 + index for index in range(50)])
    data = source.read_bytes()
    assert data.count(b"DURATION") == 1
    source.write_bytes(data.replace(b"DURATION", b"SOMETHIN"))
    assert len(times_us(source)) == 50
    assert probe(source).declared_end_us == 5_000_000


def test_cut_mkv_with_a_late_start_is_still_noticed(clip):
    source = clip("in.mkv", frames=50, codec="mpeg4", stamps=[75 + index for index in range(50)])
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut short: its header states 5\.00 s"):
        list(read(source))
