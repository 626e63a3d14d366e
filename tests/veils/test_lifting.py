"""What is behind a veil comes back by arithmetic; nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest

from clear_rt.composite import paste
from clear_rt.config import CompositeConfig
from clear_rt.shapes import Box, whole
from clear_rt.veils.blend import Blend
from clear_rt.veils.following import Veil, Veils
from clear_rt.veils.lifting import lifted
from clear_rt.veils.rim import Edges
from tests.test_composite import DEPTHS
from tests.veils.scenes import BOX, SIZE, bars, found, inside, matte_of, scenes, share_of_box, shot, veiled

PICTURE = whole(SIZE)
LAYOUTS = ["yuv420p", "yuv422p", "yuv440p", "yuva444p", "gbrap", "gray", "yuv411p", "yuv410p"]


def tiles():
    """Patches of 8 px whose levels are so far apart that no smoothing mixes them, 0..1."""
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 5, (23, 40)) / 4, np.ones((8, 8)))[: SIZE.height_px, : SIZE.width_px].astype(
        np.float32
    )


def true_veil(frame, share, colour=20, box=BOX):
    greys = [128 if plane.kind == "chroma" else colour for plane in frame.planes if plane.kind != "alpha"]
    return Veil(Edges.of(box), Blend(share, tuple((1 - share) * grey for grey in greys), 1.0), PICTURE)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_samples_are_those_behind_to_the_rounding(layout, share):
    clean = shot(tiles(), layout)
    source = veiled(clean, share)
    edited, _, hole = lifted(source, matte_of(), [true_veil(clean, share)], [PICTURE], (), SIZE)
    seen = 0
    for plane, truth in zip(edited.planes, clean.planes, strict=True):
        if plane.kind == "alpha":
            continue
        letters = sum(share_of_box(plane, bar) for bar in bars(BOX))
        wholly = (share_of_box(plane, Box(BOX.x_px + 2, BOX.y_px + 2, BOX.width_px - 4, BOX.height_px - 4)) == 1) & (
            letters == 0
        )
        errors = np.abs(plane.samples.astype(float) - truth.samples)[wholly]
        # The source is rounded, and so is the result.
        assert errors.max() <= 0.5 / share + 0.5 + 1e-3
        seen += errors.size
    assert seen > 2000
    assert not hole[BOX.y_px + 2 : BOX.y_px + 6, BOX.x_px + 2 : BOX.right_px - 2].any()
    assert all((hole[bar.slices] == 255).all() for bar in bars(BOX))


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth_is_lifted(depth):
    clean = shot(tiles(), depth=depth)
    edited = lifted(veiled(clean, 0.5), matte_of(), [true_veil(clean, 0.5)], [PICTURE], (), SIZE).frame
    plane, truth = edited.planes[0], clean.planes[0]
    part = np.s_[BOX.y_px + 2 : BOX.y_px + 8, BOX.x_px + 2 : BOX.right_px - 2]
    errors = (plane.samples[part] >> plane.shift).astype(float) - (truth.samples[part] >> plane.shift)
    # Of more than 8 bits rounding is less than what is left of neighbours that differ by 32 levels: exp(-32).
    assert np.abs(errors).max() <= 1.5 + 1e-3 * 2 ** (depth[0] - 8)
    assert not (plane.samples & ((1 << plane.shift) - 1)).any()


def test_what_is_left_to_fill_is_filled_and_the_text_is_gone():
    clean = shot(scenes()[0])
    source = veiled(clean, 0.5)
    (veil,) = found(Veils(), source, matte_of())
    edited, matte, hole = lifted(source, matte_of(), [veil], [PICTURE], (), SIZE)
    results = [paste(frame, PICTURE, part, CompositeConfig()) for frame, part in ((edited, hole), (source, matte))]
    errors = [
        np.sqrt(np.square(result.planes[0].samples.astype(float) - clean.planes[0].samples)[BOX.slices].mean())
        for result in results
    ]
    assert errors[0] < errors[1] / 3


def test_samples_outside_of_the_matte_keep_every_bit():
    source = veiled(shot(scenes()[0]), 0.5)
    before = [plane.samples.copy() for plane in source.planes]
    veil = true_veil(source, 0.5)
    edited, matte, hole = lifted(source, matte_of(), [veil], [PICTURE], (), SIZE)
    assert ((matte >= matte_of()) & (matte >= hole)).all()
    for plane, old, mine in zip(edited.planes, before, source.planes, strict=True):
        np.testing.assert_array_equal(mine.samples, old)
        away = np.ones(plane.samples.shape, bool)
        away[inside(plane, Box(BOX.x_px - 3, BOX.y_px - 3, BOX.width_px + 6, BOX.height_px + 6))] = False
        np.testing.assert_array_equal(plane.samples[away], old[away])


def test_nothing_is_changed_beside_the_region():
    source = veiled(shot(scenes()[0]), 0.5)
    region, kept = Box(100, 0, 100, 180), Box(120, 120, 30, 20)
    veil = true_veil(source, 0.5)._replace(within=region)
    edited, matte, hole = lifted(source, matte_of(), [veil], [region], [kept], SIZE)
    assert not matte[kept.slices].any()
    assert not hole[kept.slices].any()
    assert not hole[:, : region.x_px].any()
    assert not hole[:, region.right_px :].any()
    for plane, old in zip(edited.planes, source.planes, strict=True):
        same = plane.samples == old.samples
        assert same[:, : region.x_px // plane.step_x_px].all()
        assert same[:, -(-region.right_px // plane.step_x_px) :].all()


def test_a_veil_beside_its_region_is_left():
    source = veiled(shot(scenes()[0]), 0.5)
    region = Box(0, 0, 320, 60)
    _, matte, hole = lifted(source, matte_of(), [true_veil(source, 0.5)._replace(within=region)], [region], (), SIZE)
    assert not hole[:60].any()
    np.testing.assert_array_equal(matte, matte_of())


def test_without_veils_the_frame_is_the_same_object():
    source, matte = shot(scenes()[0]), matte_of()
    same = lifted(source, matte, [], [PICTURE], (), SIZE)
    assert same.frame is source
    assert same.matte is matte
    assert same.hole is matte


@pytest.mark.parametrize("box", [Box(0, 0, 3, 3), Box(0, 0, 320, 180), Box(317, 177, 3, 3)])
def test_veils_of_any_place_stay_inside_the_picture(box):
    source = shot(scenes()[0])
    veil = true_veil(source, 0.5, box=box)
    edited, matte, hole = lifted(source, matte_of(), [veil], [PICTURE], (), SIZE)
    assert (matte.shape, hole.shape) == ((180, 320), (180, 320))
    assert [plane.samples.shape for plane in edited.planes] == [plane.samples.shape for plane in source.planes]


@pytest.mark.parametrize("share", [0.5])
def test_a_matte_of_another_size_covers_the_veil(share):
    source = veiled(shot(scenes()[0]), share)
    small = matte_of()[::2, ::2]
    _, matte, _ = lifted(source, small, [true_veil(source, share)], [PICTURE], (), SIZE)
    assert matte.shape == small.shape
    assert (matte[BOX.y_px // 2 : BOX.bottom_px // 2, BOX.x_px // 2 : BOX.right_px // 2] == 255).all()
