"""Where veils are, frame after frame; and what is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from clear_rt.matte_planes import alpha_for
from clear_rt.shapes import Box, Size, whole
from clear_rt.states import StateError, integers, numbered, packed
from clear_rt.veils.blend import levels_behind
from clear_rt.veils.following import Veils
from clear_rt.veils.lifting import lifted
from clear_rt.veils.look import picture_of
from clear_rt.veils.rim import Edges
from tests.test_composite import DEPTHS, Plane
from tests.veils.scenes import BOX, SIZE, Shot, bars, found, inside, matte_of, scenes, shot, veiled

TRUE = Edges.of(BOX)


@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p", "yuv440p", "yuva444p", "gbrap", "gray", "yuv411p", "yuv410p"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_box_is_found_in_every_layout(layout, share):
    (veil,) = found(Veils(), veiled(shot(scenes()[0], layout), share), matte_of())
    assert max(abs(here - there) for here, there in zip(veil.edges, TRUE, strict=True)) <= 1
    # About 360 samples of luma are read along the edges, every sixth of which tells something new.
    most = 5 * share * np.sqrt((1 - veil.blend.correlation**2) / (360 / 6))
    assert abs(veil.blend.share - share) < most


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth_tells_the_same(depth):
    frames = [veiled(shot(scenes()[0], depth=each), 0.5) for each in ((8, 0), depth)]
    (eight,), (deep,) = (found(Veils(), frame, matte_of()) for frame in frames)
    assert max(abs(here - there) for here, there in zip(deep.edges, TRUE, strict=True)) <= 1
    assert deep.blend.share == pytest.approx(eight.blend.share, abs=0.02)
    assert deep.blend.added == pytest.approx(eight.blend.added, abs=128 * 0.02)


@pytest.mark.parametrize(("colour", "letters"), [(0, 255), (20, 235), (235, 16), (60, 255)])
def test_boxes_and_letters_of_any_colour(colour, letters):
    (veil,) = found(Veils(), veiled(shot(scenes()[0]), 0.5, colour=colour, letters=letters), matte_of())
    assert veil.blend.added[0] / (1 - veil.blend.share) == pytest.approx(colour, abs=16)


@pytest.mark.parametrize(
    "box", [Box(80, 140, 160, 40), Box(0, 100, 160, 40), Box(160, 100, 160, 40), Box(161, 121, 160, 60)]
)
def test_a_box_at_the_border_of_the_picture_is_lifted_up_to_it(box):
    """Pixels of the border and their chroma, which stands for fewer of them in odd pictures, are filled."""
    size = Size(321, 181)
    matte = np.zeros((size.height_px, size.width_px), np.uint8)
    matte[max(box.y_px - 3, 0) : box.bottom_px + 3, max(box.x_px - 3, 0) : box.right_px + 3] = 255
    source = veiled(shot(cv2.resize(scenes(seed=2)[0], size)), 0.5, box)
    veils = Veils().of(picture_of(source), matte, [whole(size)])
    edited = lifted(source, matte, veils, [whole(size)], (), size)
    assert len(veils) == 1
    assert np.count_nonzero(edited.hole) < 0.7 * np.count_nonzero(matte)
    (veil,) = veils
    for number, (plane, before) in enumerate(zip(edited.frame.planes, source.planes, strict=True)):
        hole = alpha_for(edited.hole, whole(size), plane.step_x_px, plane.step_y_px, spread=plane.kind == "chroma")
        part = inside(plane, box)
        behind = levels_behind(before.samples[part].astype(np.float32), veil.blend, number)
        wrong = np.abs(plane.samples[part] - behind)[hole[part] == 0]
        # Smoothing changes a sample of the source by less than its two levels.
        assert wrong.max() <= 2 / veil.blend.share + 0.5
        assert not (plane.samples != before.samples)[: box.y_px // plane.step_y_px - 3].any()


def test_a_matte_that_ends_before_its_box_does():
    short = matte_of()
    short[:, BOX.right_px - 12 :] = 0
    (veil,) = found(Veils(), veiled(shot(scenes()[0]), 0.5), short)
    assert abs(veil.edges.right - TRUE.right) <= 1


def flat(level):
    return np.full((SIZE.height_px, SIZE.width_px), level, np.float32)


def outlined(clean):
    """Letters so close that their matte is a block, and no box."""
    frame = clean.edited()
    for bar in bars(BOX):
        for plane in frame.planes:
            edge = Box(bar.x_px - 3, bar.y_px - 3, bar.width_px + 6, bar.height_px + 6)
            plane.samples[inside(plane, edge)] = 0 if plane.kind != "chroma" else 128
            plane.samples[inside(plane, bar)] = 255 if plane.kind != "chroma" else 128
    return frame


def stepped(clean):
    """Two lines of text, each with a box of its own."""
    upper, lower = Box(BOX.x_px, BOX.y_px, 110, 20), Box(BOX.x_px, BOX.y_px + 20, BOX.width_px, 20)
    return veiled(veiled(clean, 0.5, upper), 0.5, lower)


NONE = {
    "steps": lambda: stepped(shot(scenes()[0])),
    "no box": lambda: shot(scenes()[0]),
    "letters without a box": lambda: veiled(shot(scenes()[0]), 1.0),
    "outlined letters": lambda: outlined(shot(scenes()[0])),
    "an opaque box": lambda: veiled(shot(scenes()[0]), 0.05),
    "a box without letters": lambda: veiled(shot(scenes()[0]), 0.5, letters=None),
    "a flat picture": lambda: veiled(shot(flat(0.5)), 0.5),
    "black": lambda: veiled(shot(flat(0.0)), 0.5, colour=0),
    "noise in the place of a box": lambda: shot(
        np.random.default_rng(0).random((SIZE.height_px, SIZE.width_px), np.float32)
    ),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_veil(name):
    assert found(Veils(), NONE[name](), matte_of()) == []


@pytest.mark.parametrize("seed", range(20))
def test_no_veil_is_made_of_a_moving_picture(seed):
    veils = Veils()
    assert not any(found(veils, outlined(shot(scene)), matte_of()) for scene in scenes(6, seed))


@pytest.mark.parametrize(
    "matte", [np.zeros((180, 320), np.uint8), matte_of(Box(80, 110, 20, 8), 0), matte_of()[::2, ::2]]
)
def test_mattes_of_nothing_of_letters_and_of_another_size(matte):
    veils = found(Veils(), veiled(shot(scenes()[0]), 0.5), matte)
    assert len(veils) == (1 if matte.shape[0] == 90 else 0)


def test_a_veil_is_followed_through_frames_that_tell_nothing():
    veils = Veils()
    for scene in scenes(5):
        (before,) = found(veils, veiled(shot(scene), 0.5), matte_of())
    even = veiled(shot(flat(0.5)), 0.5)
    (veil,) = found(veils, even, matte_of())
    assert veil.edges == before.edges
    assert veil.blend.share == pytest.approx(before.blend.share, abs=0.02)
    assert found(Veils(), even, matte_of()) == []


def test_a_veil_is_gone_with_its_box():
    veils = Veils()
    *before, after = scenes(4)
    for scene in before:
        assert len(found(veils, veiled(shot(scene), 0.5), matte_of())) == 1
    assert found(veils, shot(after), matte_of()) == []


def test_a_veil_that_comes_where_there_was_none_is_found_within_four_frames():
    veils, moving = Veils(), scenes(20)
    for scene in moving[:9]:
        assert found(veils, outlined(shot(scene)), matte_of()) == []
    later = [bool(found(veils, veiled(shot(scene), 0.5), matte_of())) for scene in moving[9:]]
    assert all(later[3:])


@pytest.mark.parametrize("narrower_px", [-8, -4, 4, 8])
def test_the_box_of_another_line_is_as_wide_as_that_is(narrower_px):
    """Long edges that stay where they were do not keep the short ones."""
    veils, (first, second, third) = Veils(), scenes(3)
    other = Box(BOX.x_px + narrower_px, BOX.y_px, BOX.width_px - 2 * narrower_px, BOX.height_px)
    for scene in (first, second):
        found(veils, veiled(shot(scene), 0.5), matte_of())
    (veil,) = found(veils, veiled(shot(third), 0.5, other), matte_of(other))
    assert veil.edges.left >= other.x_px - 1
    assert veil.edges.right <= other.right_px + 1


@pytest.mark.parametrize("level", [120, 150, 170])
def test_letters_that_a_picture_could_have_are_not_left(level):
    """The next speaker's in grey: with their box they are filled."""
    veils, (first, second) = Veils(), scenes(2)
    assert len(found(veils, veiled(shot(first), 0.7), matte_of())) == 1
    assert found(veils, veiled(shot(second), 0.7, letters=level), matte_of()) == []


@pytest.mark.parametrize("grey", ["upper", "lower"])
def test_a_grey_line_above_or_below_a_white_one_is_not_left(grey):
    box = Box(80, 60, 160, 80)
    lines = {"upper": Box(80, 62, 160, 38), "lower": Box(80, 100, 160, 38)}
    frame = veiled(shot(scenes()[0]), 0.7, box, letters=None)
    both = frame
    for name, line in lines.items():
        both = veiled(both, 1.0, line)
        if name != grey:
            frame = veiled(frame, 1.0, line)
    frame = veiled(frame, 1.0, lines[grey], letters=150)
    assert len(found(Veils(), both, matte_of(box))) == 1
    assert found(Veils(), frame, matte_of(box)) == []


@pytest.mark.parametrize("gap_px", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_a_box_that_ends_just_before_the_picture_does(gap_px, seed):
    """What is not under it is not lifted: it lies in the rim or beyond an edge."""
    box = Box(gap_px, 100, 160, 40)
    matte = np.zeros((SIZE.height_px, SIZE.width_px), np.uint8)
    matte[97:143, : gap_px + 163] = 255
    clean = shot(scenes(1, seed)[0])
    source = veiled(clean, 0.5, box)
    matte[:, :1] = 0
    veils = found(Veils(), source, matte)
    edited = lifted(source, matte, veils, [whole(SIZE)], (), SIZE)
    wrong = np.abs(edited.frame.planes[0].samples.astype(int) - clean.planes[0].samples)
    assert not wrong[:, :gap_px][edited.hole[:, :gap_px] == 0].any()


def test_a_thin_part_has_no_edges_in_the_wrong_order():
    rows = np.random.default_rng(0).integers(40, 216, (14, 64)).astype(np.float32)
    rows[8], rows[4] = rows[5] / 2 + 10, rows[7] / 2 + 10
    rows[2], rows[10] = rows[5], rows[7]
    frame = Shot((Plane(np.rint(rows).astype(np.uint8), "luma"),))
    picture = picture_of(frame)
    assert Veils().of(picture, np.full((14, 64), 255, np.uint8), [whole(picture.size)]) == []


def test_a_veil_lasts_through_a_long_stretch_that_tells_nothing():
    veils, even = Veils(), veiled(shot(flat(0.5)), 0.5)
    for scene in scenes(3):
        found(veils, veiled(shot(scene), 0.5), matte_of())
    assert all(len(found(veils, even, matte_of())) == 1 for _ in range(600))


def test_another_box_is_another_veil():
    veils, (first, second) = Veils(), scenes(2)
    other = Box(40, 20, 200, 36)
    assert len(found(veils, veiled(shot(first), 0.3), matte_of())) == 1
    (veil,) = found(veils, veiled(shot(second), 0.7, other), matte_of(other))
    assert veil.blend.share == pytest.approx(0.7, abs=0.15)


def test_what_was_stored_goes_on_with_the_same_bits():
    frames = [veiled(shot(scene), 0.5) for scene in scenes(12)]
    frames[4:7] = [outlined(shot(scene)) for scene in scenes(3)]
    whole, parts = Veils(), Veils()
    for frame in frames:
        expected = found(whole, frame, matte_of())
        parts = Veils(parts.state())
        assert found(parts, frame, matte_of()) == expected
        assert parts.state() == whole.state()


@pytest.mark.parametrize(
    "named",
    [
        [*numbered("where", [integers(*range(12))])],
        [*numbered("where", [integers(1, 2)]), *numbered("moments", [np.zeros((3, 6), np.int64)])],
        [*numbered("where", [integers(*range(12))]), *numbered("moments", [np.zeros((3, 6), np.float32)])],
        [*numbered("where", [integers(*range(12))]), *numbered("moments", [np.zeros((3, 6), np.int64)])],
        [*numbered("refused", [integers(1, 2)])],
    ],
)
def test_states_of_something_else_are_refused(named):
    with pytest.raises(StateError):
        Veils(packed(named))
