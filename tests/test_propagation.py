"""What is hidden in one frame and shown in another comes back; what is not known leaves the frame's own fill."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from clear_rt.composite import HOLE_ALPHA, paste
from clear_rt.config import CompositeConfig
from clear_rt.grid import Grid, grid_of
from clear_rt.holes import Hole, holes
from clear_rt.matte_planes import luma_alpha
from clear_rt.motion import flow_around
from clear_rt.propagating import Filled, Reach, foreseen, packed_known, propagated, unpacked_known
from clear_rt.propagation import LEAST_HIDDEN, SEEN, UNKNOWN, carry, known, patches_of, seen
from clear_rt.shapes import Box, Size, plane_box, whole
from clear_rt.states import StateError
from clear_rt.threads import ahead
from tests.test_composite import DEPTHS, LAYOUTS, Picture, Plane, viewed

SIZE = Size(320, 180)
TEXT = Box(100, 120, 120, 24)
BOTH = Reach(16, 8)
PLANES = LAYOUTS | {
    "yuv411p": [("luma", 1, 1), ("chroma", 4, 1), ("chroma", 4, 1)],
    "yuv410p": [("luma", 1, 1), ("chroma", 4, 4), ("chroma", 4, 4)],
}


def texture(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Smooth noise, float32 0..1, with detail of some pixels: what a flow can follow and a membrane cannot make up."""
    rng = np.random.default_rng(seed)
    coarse, fine = (cv2.GaussianBlur(rng.random((rows, columns), np.float32), (0, 0), sigma) for sigma in (6, 1.5))
    mixed = coarse / coarse.std() + fine / fine.std()
    return (mixed - mixed.min()) / (mixed.max() - mixed.min())


def panned(count: int, step_px: float, size: Size = SIZE, seed: int = 0) -> list[np.ndarray]:
    """A scene that moves to the left by so many pixels a frame: float32 [H, W], 0..1."""
    whole_scene = texture(size.height_px + 8, size.width_px + round(abs(step_px) * count) + 8, seed)
    moved = []
    for t in range(count):
        way = np.float32([[1, 0, -step_px * t], [0, 1, 0]])
        moved.append(cv2.warpAffine(whole_scene, way, (size.width_px, size.height_px), flags=cv2.INTER_CUBIC))
    return moved


def picture(
    scene: np.ndarray, layout: str = "yuv420p", depth: tuple[int, int] = (8, 0), view: str = "plain"
) -> Picture:
    bits, shift = depth
    planes = []
    for kind, step_x, step_y in PLANES[layout]:
        inner = plane_box(whole(Size(scene.shape[1], scene.shape[0])), step_x, step_y)
        values = cv2.resize(scene, (inner.width_px, inner.height_px), interpolation=cv2.INTER_AREA)
        stored = np.rint(np.clip(values, 0, 1) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16) << shift
        planes.append(Plane(viewed(stored, view), kind, step_x, step_y, bits, shift))
    return Picture(tuple(planes))


def without(frame: Picture, box: Box) -> Picture:
    """A copy in which a box is grey, as its own fill would be."""
    copy = frame.edited()
    for plane in copy.planes:
        if plane.kind != "alpha":
            part = plane.samples[plane_box(box, plane.step_x_px, plane.step_y_px).slices]
            part[...] = 1 << (plane.bits - 1 + plane.shift)
    return copy


def hole_of(box: Box, alpha: int = 255) -> Hole:
    return Hole(box, np.full((box.height_px, box.width_px), alpha, np.uint8), (box,))


def filled(pictures: list[Picture], hidden: dict[int, Box], first: int = 0) -> list[Filled[int]]:
    size = pictures[0].planes[0].samples.shape
    grid = grid_of(Size(size[1], size[0]))
    items = []
    for i, frame in enumerate(pictures, first):
        frame = without(frame, hidden[i]) if i in hidden else frame
        patches = patches_of(frame, [hole_of(hidden[i])] if i in hidden else [], grid)
        items.append(Filled(i, i, frame, patches))
    return items


def run(items: list[Filled[int]], reach: Reach = BOTH, before=None, keep=lambda frame, before: None) -> list[int]:
    height, width = items[0].frame.planes[0].samples.shape
    grid = grid_of(Size(width, height))
    return list(propagated(foreseen(iter(items), grid, reach), grid, before, keep))


def inside(frame: Picture, box: Box = TEXT) -> list[np.ndarray]:
    return [
        (plane.samples[plane_box(box, plane.step_x_px, plane.step_y_px).slices] >> plane.shift) / (2**plane.bits - 1.0)
        for plane in frame.planes
    ]


def rms(one: Picture, other: Picture, box: Box = TEXT) -> float:
    """Over all planes, as a share of the range."""
    squares = [np.square(a - b).mean() for a, b in zip(inside(one, box), inside(other, box), strict=True)]
    return float(np.sqrt(np.mean(squares)))


@pytest.mark.parametrize("depth", DEPTHS, ids=str)
@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p", "yuv440p", "yuv411p", "yuv410p", "gbrap", "gray"])
def test_what_the_frame_before_shows_comes_back_on_every_layout(layout, depth):
    clean = [picture(scene, layout, depth, "rot90") for scene in panned(2, 3.0)]
    items = filled(clean, {1: TEXT})
    own = rms(items[1].frame, clean[1])
    assert run(items) == [0, 1]
    assert rms(items[1].frame, clean[1]) < own / 6


@pytest.mark.parametrize("reach", [BOTH, Reach(1, 0)], ids=["both", "past"])
def test_what_a_later_frame_shows_comes_back_only_where_it_is_waited_for(reach):
    clean = [picture(scene) for scene in panned(3, 3.0)]
    items = filled(clean, {0: TEXT, 1: TEXT})
    own = [rms(items[i].frame, clean[i]) for i in (0, 1)]
    run(items, reach)
    for i in (0, 1):
        after = rms(items[i].frame, clean[i])
        assert after < own[i] / 4 if reach == BOTH else after > own[i] / 2


def test_a_scene_that_moves_through_text_that_never_goes_shows_what_is_behind():
    clean = [picture(scene) for scene in panned(24, 6.0)]
    items = filled(clean, dict.fromkeys(range(24), TEXT))
    own = rms(items[12].frame, clean[12])
    run(items)
    assert rms(items[12].frame, clean[12]) < own / 2


@pytest.mark.parametrize("step_px", [0.0, 0.4, 7.5])
def test_the_flow_around_text_is_that_of_the_scene(step_px):
    """In the hole, too, where both pictures show the same grey: a hundredth of the picture's width off at most."""
    first, second = (without(picture(scene), TEXT).planes[0].samples for scene in panned(2, step_px))
    hidden = np.zeros(first.shape, np.bool_)
    hidden[TEXT.slices] = True
    found = flow_around(np.ascontiguousarray(second), np.ascontiguousarray(first), hidden)[TEXT.slices]
    assert np.abs(found - (step_px, 0)).max() < 0.35 + 0.1 * step_px


def test_a_cut_leaves_the_own_fill():
    first, second = panned(1, 0)[0], 1 - texture(*panned(1, 0)[0].shape, seed=9)
    items = filled([picture(first), picture(second)], {1: TEXT})
    before = [plane.samples.copy() for plane in items[1].frame.planes]
    run(items)
    off = [
        np.abs(plane.samples.astype(int) - old).max() for plane, old in zip(items[1].frame.planes, before, strict=True)
    ]
    others = [np.abs(a - b).max() * 255 for a, b in zip(inside(picture(first)), inside(picture(second)), strict=True)]
    assert max(off) < max(others) / 2


def test_samples_of_alpha_0_keep_every_bit():
    clean = [picture(scene, "yuva444p", (10, 6)) for scene in panned(6, 2.0)]
    items = filled(clean, dict.fromkeys(range(1, 5), TEXT))
    before = [[plane.samples.copy() for plane in item.frame.planes] for item in items]
    run(items)
    for item, planes in zip(items, before, strict=True):
        for plane, old in zip(item.frame.planes, planes, strict=True):
            outside = np.ones(old.shape, np.bool_)
            if plane.kind != "alpha":
                box = plane_box(TEXT, plane.step_x_px, plane.step_y_px)
                outside[box.slices] = False
            assert np.array_equal(plane.samples[outside], old[outside])
            assert not (plane.samples & ((1 << plane.shift) - 1)).any()


def test_only_what_the_membrane_fills_is_mixed():
    scenes = panned(2, 0.0)
    results = {}
    for alpha in (255, HOLE_ALPHA, HOLE_ALPHA - 1):
        frame = without(picture(scenes[1]), TEXT)
        patches = patches_of(frame, [hole_of(TEXT, alpha)], grid_of(SIZE))
        run([Filled(0, 0, picture(scenes[0]), []), Filled(1, 1, frame, patches)])
        results[alpha] = inside(frame)
    whole, least, less = results.values()
    for i in range(3):
        assert np.array_equal(whole[i], least[i])
        assert not np.array_equal(whole[i], less[i])
        assert np.all(less[i] * 255 == 128)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 24, 25, 40])
@pytest.mark.parametrize("reach", [BOTH, Reach(3, 1), Reach(1, 0)], ids=str)
def test_every_frame_comes_out_once_and_in_order(count, reach):
    scenes = [picture(scene) for scene in panned(3, 1.0)]
    items = filled([scenes[i % 3] for i in range(count)], {})
    assert run(items, reach) == list(range(count))


def test_no_more_frames_wait_than_the_reach_says():
    taken = 0
    items = filled([picture(panned(1, 0)[0])] * 40, {})

    def counted():
        nonlocal taken
        for item in items:
            taken += 1
            yield item

    for i, one in enumerate(foreseen(counted(), grid_of(SIZE), Reach(6, 3))):
        assert one.filled.item == i
        assert taken <= i // 6 * 6 + 6 + 3


@pytest.mark.parametrize("first", [1, 5, 16, 17, 30])
def test_a_run_that_goes_on_gives_the_same_bits(first):
    """From the state before any frame, in the middle of a group or at its end."""
    scenes = [picture(scene) for scene in panned(40, 1.7)]
    hidden = {i: TEXT for i in range(3, 36) if i % 11}
    states: dict[int, bytes] = {}
    every = filled(scenes, hidden)
    run(every, keep=lambda frame, before: states.__setitem__(frame, packed_known(frame, before)))
    rest = filled(scenes[first:], hidden, first)
    run(rest, before=unpacked_known(states[first], first))
    for one, other in zip(every[first:], rest, strict=True):
        for a, b in zip(one.frame.planes, other.frame.planes, strict=True):
            assert np.array_equal(a.samples, b.samples)


def test_a_state_of_another_frame_or_damaged_is_refused():
    state = packed_known(7, seen(picture(panned(1, 0)[0])))
    assert unpacked_known(state, 7).errors is None
    with pytest.raises(StateError, match="frame 8, found frame 7"):
        unpacked_known(state, 8)
    with pytest.raises(StateError, match="damaged"):
        unpacked_known(state[:-1] + bytes([state[-1] ^ 1]), 7)


def test_what_lies_outside_of_the_picture_is_not_known():
    """Text at the right edge over a scene that comes in from there: the frame before had not seen it."""
    box = Box(SIZE.width_px - 40, 60, 40, 24)
    scenes = [picture(scene) for scene in panned(2, 12.0)]
    frame = without(scenes[1], box)
    grid = grid_of(SIZE)
    (patch,) = patches_of(frame, [hole_of(box)], grid)
    carried = carry(seen(scenes[0]), frame, patch, grid)
    errors = carried.errors[:, -12:]
    assert (errors[:, -8:] == UNKNOWN).mean() > 0.5
    assert known(frame, [patch], [carried], grid).errors.max() < UNKNOWN


def test_errors_grow_with_every_frame_and_are_those_of_the_own_fill_at_most():
    scenes = [picture(scene) for scene in panned(30, 1.3)]
    grid = grid_of(SIZE)
    before, means = seen(scenes[0]), []
    for item in filled(scenes, dict.fromkeys(range(1, 30), TEXT))[1:]:
        (patch,) = item.patches
        before = known(item.frame, [patch], [carry(before, item.frame, patch, grid)], grid)
        found = before.errors[patch.cells.slices]
        assert (found[patch.hidden] <= patch.own[patch.hidden]).all()
        assert (found[~patch.hidden] == SEEN).all()
        assert (found[patch.hidden] >= LEAST_HIDDEN).all()
        means.append(found[patch.hidden].mean())
    assert means[0] < means[5] < means[15]


NARROW = [Size(100, 16), Size(320, 24), Size(640, 31), Size(100, 32), Size(31, 640), Size(40000, 40)]


@pytest.mark.parametrize("size", [Size(33, 19), Size(17, 90), Size(1281, 721), Size(5, 5), *NARROW], ids=str)
def test_odd_and_small_pictures(size):
    """Text over all of the picture, or at its last row and column: nothing is known there, and nothing fails."""
    scenes = [picture(scene) for scene in panned(3, 1.0, size)]
    for box in (whole(size), Box(size.width_px - 1, size.height_px - 1, 1, 1)):
        alpha = np.zeros((size.height_px, size.width_px), np.uint8)
        alpha[box.slices] = 255
        grid, items = grid_of(size), []
        for i, scene in enumerate(scenes):
            frame = without(scene, box)
            items.append(Filled(i, i, frame, patches_of(frame, holes(alpha, size, [whole(size)]), grid)))
        assert run(items) == [0, 1, 2]


@pytest.mark.parametrize("size", [Size(640, 360), Size(1280, 720), Size(1920, 1080), Size(1080, 1920), Size(541, 541)])
def test_a_grid_has_no_more_cells_than_it_says(size):
    grid = grid_of(size)
    assert min(grid.size) <= 540
    assert grid.size.width_px * grid.step_px <= size.width_px


def test_cells_cover_their_pixels_and_values_reach_all_of_them():
    grid, box = Grid(3, Size(20, 10)), Box(4, 5, 26, 25)
    cells = grid.covering(box)
    assert cells == Box(1, 1, 9, 9)
    pixels = np.zeros((25, 26), np.bool_)
    pixels[24, 25] = True
    assert np.argwhere(grid.any(pixels, box, cells)).tolist() == [[8, 8]]
    assert grid.covering(Box(60, 2, 4, 4)) is None
    ramp = np.arange(81, dtype=np.float32).reshape(9, 9)
    spread = grid.magnified(ramp, cells, box)
    assert spread.shape == (25, 26)
    assert np.all(np.diff(spread, axis=1) >= 0)


@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p", "yuv440p", "yuv410p"])
@pytest.mark.parametrize("box", [Box(102, 121, 120, 24), Box(101, 123, 121, 23), Box(100, 120, 120, 24)], ids=str)
def test_what_a_box_confines_stays_confined_and_all_that_was_pasted_is_mixed(layout, box):
    """With a matte that reaches its edges: chroma spreads no further than `paste` spreads it, and as far."""
    matte = np.full((SIZE.height_px, SIZE.width_px), 255, np.uint8)
    sources = [picture(scene, layout) for scene in panned(2, 2.0)]
    pasted = paste(sources[1], box, matte, CompositeConfig())
    before = [plane.samples.copy() for plane in pasted.planes]
    grid = grid_of(SIZE)
    patches = patches_of(pasted, holes(matte, SIZE, [box]), grid)
    run([Filled(0, 0, sources[0], []), Filled(1, 1, pasted, patches)])
    for source, old, plane in zip(sources[1].planes, before, pasted.planes, strict=True):
        inside = np.zeros(old.shape, np.bool_)
        inside[plane_box(box, plane.step_x_px, plane.step_y_px).slices] = True
        assert np.array_equal(plane.samples[~inside], source.samples[~inside])
        clean, still = np.abs(plane.samples.astype(int) - source.samples), np.abs(old.astype(int) - source.samples)
        assert clean[inside].mean() < still[inside].mean() / 3


def test_what_lies_deep_in_a_large_hole_is_carried_like_its_rim():
    """Further from anything that can be seen than the windows reach."""
    size, box = Size(640, 360), Box(100, 60, 400, 240)
    scenes = [picture(scene, "gray") for scene in panned(2, 4.0, size)]
    items = filled(scenes, {1: box})
    run(items)
    off = np.abs(inside(items[1].frame, box)[0] - inside(scenes[1], box)[0]) * 255
    assert off[100:140, 150:250].mean() < 6
    assert off[:20].mean() < 6


def test_frames_are_left_alone_once_they_are_handed_on():
    """On two threads, as the runtime has them: the bits of one thread, and nothing is written later."""
    scenes = [picture(scene) for scene in panned(40, 1.3)]
    hidden = {i: TEXT for i in range(2, 36) if i % 9}
    alone, together, grid = filled(scenes, hidden), filled(scenes, hidden), grid_of(SIZE)
    run(alone)
    later = ahead(foreseen(ahead(iter(together), 3), grid, BOTH), 3)
    for i in propagated(later, grid, None, lambda frame, before: None):
        for plane, expected in zip(together[i].frame.planes, alone[i].frame.planes, strict=True):
            plane.samples.flags.writeable = False
            assert np.array_equal(plane.samples, expected.samples)


def test_holes_that_meet_are_one():
    matte = np.zeros((90, 160), np.uint8)
    matte[40:50, 20:140] = 200
    picture_size = Size(320, 180)
    left, right, far = Box(0, 60, 200, 60), Box(120, 60, 200, 60), Box(0, 0, 320, 40)
    (found,) = holes(matte, picture_size, [left, right, far])
    assert found.box == Box(32, 72, 256, 36)
    assert np.array_equal(found.alpha, luma_alpha(matte, picture_size, found.box))
    assert sorted(found.within) == [left, right]
    (alone,) = holes(matte, picture_size, [left])
    assert (alone.box.right_px, alone.within) == (204, (left,))
    assert not alone.alpha[:, -4:].any()
