"""Where veils are, frame after frame; and what is none."""

from __future__ import annotations

import numpy as np
import pytest

from clear_rt.shapes import Box
from clear_rt.states import StateError, integers, numbered, packed
from clear_rt.veils.following import Veils
from clear_rt.veils.rim import Edges
from tests.test_composite import DEPTHS
from tests.veils.scenes import BOX, SIZE, bars, found, inside, matte_of, scenes, shot, veiled

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


@pytest.mark.parametrize("box", [Box(80, 140, 160, 40), Box(0, 100, 160, 40), Box(160, 100, 160, 40)])
def test_a_box_at_the_border_of_the_picture_is_open_there(box):
    matte = np.zeros((SIZE.height_px, SIZE.width_px), np.uint8)
    matte[max(box.y_px - 3, 0) : box.bottom_px + 3, max(box.x_px - 3, 0) : box.right_px + 3] = 255
    (veil,) = found(Veils(), veiled(shot(scenes()[0]), 0.5, box), matte)
    assert len(veil.open) == 1
    assert max(abs(here - there) for here, there in zip(veil.edges, Edges.of(box), strict=True)) <= 1


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


NONE = {
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
