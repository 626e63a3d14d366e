"""Snippets and VFID with small TorchScript networks whose features can be told in advance."""

import warnings

import numpy as np
import pytest

pytest.importorskip("torch", reason="TorchScript is read by torch: pip install '.[train]'")
pytest.importorskip("safetensors", reason="files of weights are opened with safetensors: pip install '.[train]'")

import torch

from clear_rt.errors import InputError, WeightsError
from clear_rt.metrics.config import EvalConfig
from clear_rt.metrics.evaluate import compare
from clear_rt.metrics.frechet import FeatureSum, frechet
from clear_rt.metrics.judges import Judges
from clear_rt.metrics.video_features import SNIPPET_FRAMES, SnippetSum, VideoBackbone
from clear_rt.metrics.videos import Videos


@pytest.fixture
def saved(tmp_path):
    """Function (a function of the snippet) -> path of it as TorchScript."""

    def save(function):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.trace(function, torch.rand(1, 3, 4, 8, 8), check_trace=False).save(str(tmp_path / "network.pt"))
        return tmp_path / "network.pt"

    return save


def means(snippet):
    """Of every channel, and of the first frame."""
    return torch.cat([snippet.mean(dim=(2, 3, 4)), snippet[:, :, 0].mean(dim=(2, 3))], dim=1)


def clip(frames, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, 24, 32, 3), np.uint8)


def means_of(snippet):
    return np.concatenate([snippet.mean(axis=(0, 1, 2)), snippet[0].mean(axis=(0, 1))]) / 255


@pytest.mark.parametrize(
    ("frames", "snippets"), [(1, [(0, 1)]), (15, [(0, 15)]), (16, [(0, 16)]), (47, [(0, 16), (16, 32)])]
)
def test_snippets_follow_each_other(saved, frames, snippets):
    total, pictures = SnippetSum(VideoBackbone(saved(means))), clip(frames)
    for picture in pictures:
        total.add(picture)
    found, expected = total.result(), FeatureSum()
    for start, stop in snippets:
        expected.add(means_of(pictures[start:stop]))
    assert found.count == len(snippets)
    np.testing.assert_allclose(found._total, expected._total, atol=1e-6)


def test_vfid_of_a_pair_and_of_all_pairs(saved, write_frames):
    config = EvalConfig(find_text=False, every_frames=100, vfid_weights=saved(means))
    judges = Judges.load(config)
    count = 3 * SNIPPET_FRAMES
    sums = [FeatureSum(), FeatureSum()]
    for seed in (0, 2):
        pair = clip(count, seed), clip(count, seed + 1) // 2
        paths = [write_frames(f"{name}{seed}", frames) for name, frames in zip("rc", pair, strict=True)]
        own = [FeatureSum(), FeatureSum()]
        for frames, mine, pooled in zip(pair, own, sums, strict=True):
            for start in range(0, count, SNIPPET_FRAMES):
                for total in (mine, pooled):
                    total.add(means_of(frames[start : start + SNIPPET_FRAMES]))
        found = compare(Videos(result=paths[0], clean=paths[1]), config, judges)
        assert found.vfid == pytest.approx(frechet(*own), rel=1e-4)
    assert judges.pooled.vfid() == pytest.approx(frechet(*sums), rel=1e-4)


def test_a_pair_that_fails_leaves_nothing_in_the_pool(saved, write_frames):
    config = EvalConfig(find_text=False, vfid_weights=saved(means))
    judges = Judges.load(config)
    videos = Videos(result=write_frames("r", clip(40)), clean=write_frames("c", clip(39)))
    with pytest.raises(InputError, match="ends after 39 frames"):
        compare(videos, config, judges)
    assert judges.pooled.result.count == judges.pooled.clean.count == 0


def test_what_is_no_network_for_video_is_refused(saved, tmp_path):
    junk = tmp_path / "junk.pt"
    junk.write_bytes(b"PK\x03\x04 no network")
    with pytest.raises(WeightsError, match=r"junk\.pt: expected a TorchScript file, found something else"):
        VideoBackbone(junk)
    state = tmp_path / "state.pt"
    torch.save({"weight": torch.zeros(2)}, state)
    with pytest.raises(WeightsError, match=r"state\.pt: expected a TorchScript file"):
        VideoBackbone(state)
    with pytest.raises(WeightsError, match="found none"):
        VideoBackbone(tmp_path / "absent.pt")
    wrong = VideoBackbone(saved(lambda snippet: snippet.reshape(1, 768) @ torch.ones(768, 2)))
    with pytest.raises(WeightsError, match=r"expected a network for float32 \(1, 3, 16, 24, 32\), but it failed"):
        wrong(clip(16))
    infinite = VideoBackbone(saved(lambda snippet: snippet.mean() / (snippet.mean() - snippet.mean())))
    with pytest.raises(WeightsError, match="NaN or infinity"):
        infinite(clip(16))
