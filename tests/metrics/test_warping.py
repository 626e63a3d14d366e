"""Temporal warping error: nothing where nothing flickers, the flicker's own square where something does."""

import cv2
import numpy as np
import pytest

from clear_rt.metrics.warping import WarpingSum, _returns

# Wider and higher than the mask and what is looked at around it.
HEIGHT_PX, WIDTH_PX, FRAMES = 160, 240, 5
STEP_X_PX, STEP_Y_PX = 3, 1


@pytest.fixture(scope="module")
def texture():
    """Smooth noise, uint8 [H, W, 3], with room for the moving clip."""
    noise = np.random.default_rng(0).normal(size=(HEIGHT_PX + 32, WIDTH_PX + 32)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    levels = np.interp(smooth, (smooth.min(), smooth.max()), (30, 220)).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def still(texture):
    return np.stack([texture[:HEIGHT_PX, :WIDTH_PX]] * FRAMES)


@pytest.fixture(scope="module")
def moving(texture):
    places = [(STEP_Y_PX * i, STEP_X_PX * i) for i in range(FRAMES)]
    return np.stack([texture[y : y + HEIGHT_PX, x : x + WIDTH_PX] for y, x in places])


@pytest.fixture(scope="module")
def mask():
    inside = np.zeros((HEIGHT_PX, WIDTH_PX), bool)
    inside[100:120, 40:120] = True
    return inside


def warping(clean, judged, mask):
    total = WarpingSum(len(judged))
    for pictures in zip(clean, *judged, strict=True):
        total.add(pictures[0], pictures[1:], mask)
    return total.result()


def flickering(clip, mask, levels):
    """Every second frame is brighter inside the mask."""
    changed = clip.copy()
    changed[1::2, mask] += np.uint8(levels)
    return changed


def test_a_still_clip_has_none(still, mask):
    found = warping(still, [still], mask)
    assert (found.clean, found.judged, found.ratios()) == (0.0, (0.0,), (None,))
    assert found.pixels == (FRAMES - 1) * mask.sum()


def test_motion_is_followed(moving, mask):
    found = warping(moving, [moving], mask)
    unwarped = np.mean(np.diff(moving[..., 0].astype(float), axis=0)[:, mask] ** 2)
    assert found.clean == found.judged[0] < unwarped / 50
    assert found.ratios() == (1.0,)
    # Nearly nothing is occluded, and the mask in the next frame counts as well as the one in this.
    assert found.pixels > (FRAMES - 1) * mask.sum()


def test_flicker_counts_its_square(still, moving, mask):
    found = warping(still, [flickering(still, mask, 4), still, flickering(still, mask, 8)], mask)
    assert found.judged == (pytest.approx(16, rel=1e-4), 0.0, pytest.approx(64, rel=1e-4))
    everywhere = np.ones_like(mask)
    moved = warping(moving, [flickering(moving, everywhere, 8)], mask)
    assert moved.judged[0] == pytest.approx(64 + moved.clean, rel=0.02)


def test_outside_the_mask_nothing_counts(still, moving, mask):
    noise = np.random.default_rng(1).integers(0, 256, still.shape, np.uint8)
    assert warping(still, [np.where(mask[..., None], still, noise)], mask).judged == (0.0,)
    found = warping(moving, [moving], np.zeros_like(mask))
    assert (found.pixels, found.clean, found.judged, found.ratios()) == (0, None, (None,), (None,))


@pytest.mark.parametrize(("back_px", "closes"), [(-5.0, True), (-4.8, True), (0.0, False), (-9.0, False)])
def test_a_pixel_whose_way_back_ends_elsewhere_counts_as_covered(back_px, closes):
    there, back = np.zeros((2, 4, 6, 2), np.float32)
    there[..., 0], back[..., 0] = 5.0, back_px
    assert (_returns(there, back) == closes).all()


@pytest.mark.parametrize(
    ("clean", "judged", "mask", "sentence"),
    [
        ((32, 32), [(32, 32)], (32, 32), "clean picture"),
        ((15, 32, 3), [(15, 32, 3)], (15, 32), "16 pixels or more"),
        ((32, 32, 3), [(32, 31, 3)], (32, 32), "like the clean one"),
        ((32, 32, 3), [], (32, 32), "1 judged clips, got 0"),
        ((32, 32, 3), [(32, 32, 3)], (32, 31), "bool mask"),
        ((48, 32, 3), [(48, 32, 3)], (48, 32), "like the one before"),
    ],
)
def test_bad_shapes_are_named(clean, judged, mask, sentence):
    total = WarpingSum()
    black = np.zeros((32, 32, 3), np.uint8)
    total.add(black, [black], np.ones((32, 32), bool))
    with pytest.raises(ValueError, match=sentence):
        total.add(np.zeros(clean, np.uint8), [np.zeros(shape, np.uint8) for shape in judged], np.ones(mask, bool))


def test_other_types_are_named(still, mask):
    with pytest.raises(ValueError, match="uint8"):
        WarpingSum().add(still[0], [still[0].astype(np.float32)], mask)
    with pytest.raises(ValueError, match="bool mask"):
        WarpingSum().add(still[0], [still[0]], mask.astype(np.uint8))
