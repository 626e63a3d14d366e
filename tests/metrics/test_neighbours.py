"""Which pairs of frames are looked at, what they say, and that little is held."""

import numpy as np
import pytest

from clear_rt.metrics.motion import MotionSum
from clear_rt.metrics.neighbours import Neighbours, NeighboursSum
from clear_rt.metrics.ssim import ssim

FRAMES = 8


@pytest.fixture(scope="module")
def clip():
    """A bright square in front of noise, uint8 [T, 48, 64, 3]; every frame is another."""
    return np.random.default_rng(0).integers(0, 256, (FRAMES, 48, 64, 3), np.uint8)


def summed(clips, masks, every):
    total = NeighboursSum(list(clips))
    for i in range(FRAMES):
        total.add({name: frames[i] for name, frames in clips.items()}, masks[i], sampled=i % every == 0)
    return total.result()


@pytest.mark.parametrize(("every", "pairs"), [(1, range(7)), (2, (0, 2, 4, 6)), (3, (0, 3, 6)), (7, (0,)), (9, (0,))])
def test_pairs_begin_where_it_is_sampled(clip, every, pairs):
    found = summed({"clean": clip}, [None] * FRAMES, every)["clean"]
    assert found.consistency == pytest.approx(np.mean([ssim(clip[i], clip[i + 1]) for i in pairs]))
    assert found.consistency_inside == found.consistency


def test_a_sampled_pair_is_not_compared_with_the_one_before(clip):
    """Frames 0 and 1 are equal, so are 4 and 5, and all between is noise that no pair sees."""
    frames = clip.copy()
    frames[1], frames[5] = frames[0], frames[4]
    found = summed({"clean": frames}, [np.ones((48, 64), bool)] * FRAMES, 4)["clean"]
    assert (found.warping, found.consistency, found.flow_mean_px) == (0.0, pytest.approx(1.0), 0.0)


def test_one_frame_and_pictures_too_small_for_the_flow(clip):
    total = NeighboursSum(["clean"])
    total.add({"clean": clip[0]}, None, sampled=True)
    assert total.result() == {"clean": Neighbours()}
    found = summed({"clean": clip[:, :15]}, [None] * FRAMES, 1)["clean"]
    assert (found.warping, found.flow_mean_px) == (None, None)
    assert found.consistency is not None


def test_an_empty_mask_gives_nothing_inside(clip):
    found = summed({"clean": clip}, [np.zeros((48, 64), bool)] * FRAMES, 1)["clean"]
    assert (found.warping, found.consistency_inside, found.flow_mean_px, found.flow_variance_px2) == (None,) * 4


@pytest.mark.parametrize("step_px", [0, 1, 3])
def test_the_flow_of_what_moves_as_one(step_px):
    rows, columns = np.mgrid[0:120, 0:160]
    texture = (128 + 60 * np.sin(columns / 4) + 50 * np.cos(rows / 5)).astype(np.uint8)
    mask = np.zeros((120, 150), bool)
    mask[80:100, 40:110] = True
    total = MotionSum()
    assert total.result() == (None, None)
    total.add(texture[:, :150].copy(), texture[:, step_px : 150 + step_px].copy(), mask)
    found = total.result()
    assert found.mean_px == pytest.approx(step_px, abs=0.1)
    assert found.variance_px2 < 0.01


def test_the_variance_is_over_pixels_and_pairs_together():
    rows, columns = np.mgrid[0:64, 0:100]
    texture = (128 + 60 * np.sin(columns / 4) + 50 * np.cos(rows / 5)).astype(np.uint8)
    mask = np.zeros((64, 90), bool)
    mask[20:40, 20:70] = True
    total = MotionSum()
    for step_px in (0, 2):
        total.add(texture[:, :90].copy(), texture[:, step_px : 90 + step_px].copy(), mask)
    assert total.result() == (pytest.approx(1.0, abs=0.1), pytest.approx(1.0, abs=0.1))
