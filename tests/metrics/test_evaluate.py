"""`evaluate` on lossless files: every figure recomputed here from the arrays that were written."""

import json
import math
import pickle

import numpy as np
import pytest

from clear_rt.burn.config import BurnConfig
from clear_rt.burn.video import burn
from clear_rt.config import WriteConfig
from clear_rt.errors import ConfigError, InputError
from clear_rt.metrics.clip import ClipSum
from clear_rt.metrics.evaluate import evaluate
from clear_rt.metrics.judges import Judges
from clear_rt.metrics.masks import mask_from_difference
from clear_rt.metrics.ssim import ssim


def noise(seed, shape=(5, 32, 48, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def formula(a, b):
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return 10 * math.log10(255**2 / error) if error else math.inf


@pytest.fixture
def subtitled():
    """Clean frames, the same with a white block, and where the block is."""
    clean = noise(1) // 2
    inside = np.zeros(clean.shape[:3], bool)
    inside[1:, 20:28, 8:40] = True
    source = clean.copy()
    source[inside] = 255
    return clean, source, inside


def test_figures_with_a_given_mask(write_frames, subtitled):
    clean, source, inside = subtitled
    result = np.where(inside[..., None], clean // 2 + 60, source).astype(np.uint8)
    result[2, 0, 0, 1] ^= 1
    mask = (inside * np.arange(1, 49)).astype(np.uint8)
    paths = [write_frames(*item) for item in (("r", result), ("c", clean), ("s", source), ("m", mask))]
    seen = []
    found = evaluate(*paths, find_text=False, every_frames=2, progress=seen.append)
    assert (found.frames, found.width_px, found.height_px, found.mask) == (5, 48, 32, "given")
    assert found.mask_share == pytest.approx(inside.mean())
    assert found.result.psnr.frame_db == pytest.approx(formula(result, clean))
    assert found.result.psnr.inside_db == pytest.approx(formula(result[inside], clean[inside]))
    assert found.result.psnr.outside_db == pytest.approx(formula(result[~inside], clean[~inside]))
    assert found.source.psnr.inside_db == pytest.approx(formula(source[inside], clean[inside]))
    assert found.source.psnr.outside_db == math.inf
    assert found.source.ssim < found.result.ssim < 1
    assert found.pixels_changed_outside == 1
    assert found.result.frames_with_text is None
    assert seen == [1, 2, 3, 4, 5]
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["source"]["psnr"]["outside_db"] == "inf"


def test_mask_from_the_difference(write_frames, subtitled):
    clean, source, inside = subtitled
    paths = [write_frames(*item) for item in (("r", clean), ("c", clean), ("s", source))]
    found = evaluate(*paths, find_text=False)
    assert found.mask == "difference"
    assert inside.mean() <= found.mask_share <= 1.4 * inside.mean()
    assert found.result.psnr.frame_db == found.result.psnr.inside_db == math.inf
    guessed = mask_from_difference(source[3], clean[3])
    assert guessed[inside[3]].all()
    faint = np.clip(clean[3].astype(int) + np.random.default_rng(3).integers(-9, 10, clean[3].shape), 0, 255)
    assert not mask_from_difference(faint.astype(np.uint8), clean[3]).any()


def test_without_source_and_mask(write_frames, subtitled):
    clean, source, _ = subtitled
    found = evaluate(write_frames("r", source), write_frames("c", clean), find_text=False)
    assert (found.mask, found.mask_share, found.source, found.pixels_changed_outside) == ("none", None, None, None)
    assert found.result.psnr.inside_db is None
    assert found.result.psnr.frame_db == pytest.approx(formula(source, clean))


def test_without_clean_the_source_is_what_is_kept(write_frames, subtitled):
    clean, source, inside = subtitled
    result = np.where(inside[..., None], clean, source).astype(np.uint8)
    result[2, 0, 0, 1] ^= 1
    paths = [write_frames(*item) for item in (("r", result), ("s", source), ("m", 255 * inside.astype(np.uint8)))]
    found = evaluate(paths[0], None, *paths[1:], find_text=False)
    assert (found.clean, found.result.psnr.frame_db, found.result.ssim, found.mask) == (None, None, None, "given")
    assert found.result.warping_ratio is None
    changed = result != source
    assert found.changes.samples == changed.mean()
    assert found.changes.samples_outside == changed[~inside].mean() == 1 / changed[~inside].size
    assert found.changes.outside_db == pytest.approx(formula(result[~inside], source[~inside]))
    assert found.changes.pixels_outside == found.pixels_changed_outside == 1
    guessed = evaluate(*paths[:1], source=paths[1], find_text=False)
    assert guessed.mask == "difference"
    assert inside.mean() <= guessed.mask_share <= 1.4 * inside.mean()


def test_alone_there_is_nothing_to_compare_with(write_frames):
    with pytest.raises(ConfigError, match="give --clean or --source"):
        evaluate(write_frames("r", noise(1)), find_text=False)


def flickering_clips():
    """A texture that moves two pixels a frame, where it is covered by text that stands, and a fill that flickers."""
    rows, columns = np.mgrid[0:64, 0:200]
    texture = 128 + 60 * np.sin(columns / 5) * np.cos(rows / 4) + 30 * np.sin((columns + rows) / 9)
    clean = np.stack([texture[:, 2 * i : 2 * i + 120] for i in range(7)])[..., None].repeat(3, -1).astype(np.uint8)
    inside = np.zeros(clean.shape[:3], bool)
    inside[:, 30:46, 20:100] = True
    result, source = clean.copy(), clean.copy()
    result[1::2][inside[1::2]] += 10
    source[inside] = np.broadcast_to(texture[30:46, :80, None].astype(np.uint8), (7, 16, 80, 3)).reshape(-1, 3)
    return clean, source, result, inside


def test_flicker_and_motion_of_all_clips(write_frames):
    clean, source, result, inside = flickering_clips()
    paths = [
        write_frames(*item)
        for item in (("r", result), ("c", clean), ("s", source), ("m", 255 * inside.astype(np.uint8)))
    ]
    found = evaluate(*paths, find_text=False, every_frames=1)
    clips = {name: getattr(found, name).neighbours for name in ("clean", "result", "source")}
    assert clips["result"].warping == pytest.approx(100 + clips["clean"].warping, rel=0.1)
    assert found.result.warping_ratio == clips["result"].warping / clips["clean"].warping > 5
    assert found.clean.warping_ratio is None
    assert clips["clean"].flow_mean_px == pytest.approx(2.0, abs=0.2)
    assert clips["source"].flow_mean_px < clips["clean"].flow_mean_px / 3
    assert clips["source"].consistency_inside > clips["clean"].consistency_inside > clips["result"].consistency_inside
    pairs = evaluate(*paths, find_text=False, every_frames=3)
    assert pairs.result.neighbours.warping == pytest.approx(clips["result"].warping, rel=0.1)
    alone = evaluate(paths[0], None, *paths[2:], find_text=False, every_frames=1)
    assert alone.source.neighbours.warping > 10 * clips["clean"].warping
    assert alone.result.warping_ratio is alone.source.warping_ratio is None


def test_mismatches_are_sentences(write_frames, tmp_path):
    clean = write_frames("c", noise(1))
    shorter, wider = write_frames("short", noise(1)[:3]), write_frames("wide", noise(2, (5, 32, 64, 3)))
    with pytest.raises(InputError, match=r"result .*short\.mkv ends after 3 frames, clean .*goes on"):
        evaluate(shorter, clean, find_text=False)
    with pytest.raises(InputError, match=r"clean .*short\.mkv ends after 3 frames, result .*goes on"):
        evaluate(clean, shorter, find_text=False)
    with pytest.raises(InputError, match=r"result .*wide\.mkv is 64x32, clean .* is 48x32"):
        evaluate(wider, clean, find_text=False)
    with pytest.raises(InputError, match="expected gray"):
        evaluate(clean, clean, mask=clean, find_text=False)
    with pytest.raises(InputError, match=r"absent\.mkv"):
        evaluate(clean, tmp_path / "absent.mkv", find_text=False)
    with pytest.raises(ConfigError, match="every_frames"):
        evaluate(clean, clean, every_frames=0)


def test_burn_and_evaluate_agree(write_frames, tmp_path):
    """The mask that `burn` writes covers every pixel it changed: outside it the source equals the clean video."""
    rows, columns = np.mgrid[0:180, 0:320]
    still = np.stack([columns * 200 // 320, rows, 90 + 0 * rows], -1).astype(np.uint8)
    clean = write_frames("c", np.stack([still] * 3))
    source, mask = tmp_path / "s.mkv", tmp_path / "m.mkv"
    config = BurnConfig(script="en", style="outline", size_share=0.12)
    burn(clean, source, config, mask=mask, write_config=WriteConfig(lossless=True))
    found = evaluate(clean, clean, source, mask, every_frames=3)
    assert found.source.psnr.outside_db == math.inf
    assert found.source.psnr.inside_db < 20
    assert found.result.psnr.frame_db == math.inf
    assert (found.source.frames_with_text, found.result.frames_with_text, found.clean_frames_with_text) == (
        1.0,
        0.0,
        0.0,
    )


def test_the_sums_do_not_grow_with_the_video():
    sums = ClipSum(Judges())
    pictures = noise(5, (8, 16, 16, 3))
    bytes_held = []
    for _ in range(2):
        for _ in range(25):
            for picture in pictures:
                sums.add(picture, pictures[0], None, True)
        bytes_held.append(len(pickle.dumps(sums)))
    assert bytes_held[1] <= bytes_held[0] + 32
    assert sums.score().ssim == pytest.approx(np.mean([ssim(p, pictures[0]) for p in pictures]), rel=1e-12)
