"""Captions that the transformer learns from: drawn over the clip, compressed, found by the prior, never by a mask."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("PIL", reason="captions are drawn with Pillow: pip install '.[train]'")

from safetensors.torch import save_file  # noqa: E402

from clear_rt.models.config_json import as_json  # noqa: E402
from clear_rt.models.vae import Vae  # noqa: E402
from clear_rt.models.vae_config import VaeConfig  # noqa: E402
from training import latent_pairs  # noqa: E402
from training.latent_data import LatentPairs  # noqa: E402


def _grey():
    return np.full((17, 160, 160, 3), 90, np.uint8)


def test_a_captioned_clip_differs_where_the_caption_is_and_is_drawn_by_its_seed():
    a, b = (latent_pairs.captioned(_grey(), np.random.default_rng(5)) for _ in range(2))
    assert a.canvas_height_px == b.canvas_height_px
    assert np.array_equal(a.frames, b.frames)
    assert a.frames.shape == (17, 160, 160, 3)
    changed = (np.abs(a.frames.astype(int) - 90).max(axis=(0, 3)) > 40).mean()
    assert 0.01 < changed < 0.9


def test_some_captions_come_or_go_within_the_clip(monkeypatch):
    monkeypatch.setattr(latent_pairs, "COMPRESSED_SHARE", 0.0)
    partial = 0
    for seed in range(40):
        shown = np.abs(latent_pairs.captioned(_grey(), np.random.default_rng(seed)).frames.astype(int) - 90)
        per_frame = shown.max(axis=(1, 2, 3)) > 0
        assert np.count_nonzero(np.diff(per_frame)) <= 1
        partial += not per_frame.all()
    assert 3 <= partial <= 16


def test_a_shard_holds_latents_of_clean_and_captioned_clips_and_the_priors_maps(tmp_path):
    torch.manual_seed(0)
    config = VaeConfig(base_width=2, res_blocks=1)
    (tmp_path / "vae").mkdir()
    save_file(Vae(config).state_dict(), tmp_path / "vae" / "vae.safetensors")
    (tmp_path / "vae" / "vae.json").write_text(json.dumps({"vae": as_json(config)}))
    clips = tmp_path / "clips"
    clips.mkdir()
    ramp = np.linspace(60, 160, 160).astype(np.uint8)
    np.save(clips / "clips-000.npy", np.broadcast_to(ramp[None, None, None, :, None], (4, 17, 160, 160, 3)))
    threads = torch.get_num_threads()
    assert (
        latent_pairs._shard(
            (0, latent_pairs.Job(clips / "clips-000.npy", tmp_path / "vae"), tmp_path / "control-000.npy", 7)
        )
        == 4
    )
    torch.set_num_threads(threads)
    clean, control, maps = (np.load(tmp_path / f"{name}-000.npy") for name in ("clean", "control", "maps"))
    assert (clean.shape, control.shape) == ((4, 16, 5, 20, 20), (4, 16, 5, 20, 20))
    assert maps.shape == (4, 5, 10, 10)
    assert np.array_equal(clean[0], clean[1])
    assert maps.max() > 200
    assert not np.array_equal(control[0], clean[0])
    pairs = LatentPairs(tmp_path)
    assert pairs.count(False) == 4


def test_a_draft_has_the_text_filled_as_the_runtime_fills_it():
    """Over a smooth clip nearly nothing of the caption is left, and where there was none nothing changed."""
    ramp = np.broadcast_to(np.linspace(60, 160, 160).astype(np.uint8)[None, None, :, None], (17, 160, 160, 3))
    video = latent_pairs.captioned(ramp, np.random.default_rng(5))
    maps = latent_pairs._found(latent_pairs._finder(), video)
    drafts = latent_pairs.drafted(video.frames, maps)
    before, after = (np.abs(frames.astype(int) - ramp) for frames in (video.frames, drafts))
    assert np.square(after).mean() < 0.1 * np.square(before).mean()
    assert (drafts == video.frames).all(axis=-1).mean() > 0.3
