"""The VAE's training: its convolutions compute what conv3d does, it goes on where it stopped, and its weights load."""

from __future__ import annotations

import dataclasses
import json
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("PIL", reason="captions are drawn with Pillow: pip install '.[train]'")

from clear_rt.errors import ConfigError  # noqa: E402
from clear_rt.models.config_json import from_json  # noqa: E402
from clear_rt.models.vae import Vae  # noqa: E402
from clear_rt.models.vae_config import VaeConfig  # noqa: E402
from clear_rt.models.weights import load_vae  # noqa: E402
from tests.trainer_state import assert_equal, state  # noqa: E402
from training import vae, vae_clips, vae_data  # noqa: E402
from training.fast_conv import by_taps  # noqa: E402
from training.vae import VaeTrainer, VaeTraining, train  # noqa: E402
from training.vae_data import Clips  # noqa: E402
from training.vae_loss import vae_terms  # noqa: E402

TINY = VaeTraining(seed=3, base_width=8, multipliers=(1, 2, 5, 5), steps=4, stages=2, checkpoint_every=10)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(vae_data, "SHAPES", ((2, 5, 16, 24), (1, 9, 16, 16)))
    monkeypatch.setattr(vae, "START_CLIPS", 4)
    monkeypatch.setattr(vae, "START_SIDE_PX", 32)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def clips(tmp_path):
    """Seven shards of three clips, the sixth of which is for validation; every other clip has a caption."""
    rng = np.random.default_rng(0)
    for number in range(7):
        np.save(tmp_path / f"clips-{number:03d}.npy", rng.integers(0, 256, (3, 17, 32, 32, 3), np.uint8))
        captions = np.zeros((3, 32, 32, 4), np.uint8)
        captions[::2, 20:24, 4:28] = 255
        np.save(tmp_path / f"captions-{number:03d}.npy", captions)
    return Clips(tmp_path)


@pytest.mark.parametrize("frames", [1, 5, 9])
@pytest.mark.parametrize("batch", [1, 2])
def test_convolutions_by_taps_are_conv3d_forward_and_back(frames, batch):
    torch.manual_seed(0)
    config = VaeConfig(base_width=4, res_blocks=1)
    plain, fast = Vae(config), Vae(config)
    fast.load_state_dict(plain.state_dict())
    before = dict(fast.named_parameters())
    by_taps(fast)
    assert {name: id(p) for name, p in fast.named_parameters()} == {name: id(p) for name, p in before.items()}
    clip = torch.rand(batch, 3, frames, 16, 24) * 2 - 1
    latents = plain.encode(clip)
    torch.testing.assert_close(fast.encode(clip), latents, atol=1e-5, rtol=1e-5)
    made, expected = fast.decode(latents.detach()), plain.decode(latents.detach())
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)
    made.square().mean().backward()
    expected.square().mean().backward()
    for name, parameter in plain.decoder.named_parameters():
        torch.testing.assert_close(fast.decoder.get_parameter(name).grad, parameter.grad, atol=1e-5, rtol=1e-4)


def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(clips, tmp_path):
    unbroken = VaeTrainer(tmp_path / "whole", TINY)
    train(unbroken, clips, 4)
    for last_step in (2, 4):
        resumed = VaeTrainer(tmp_path / "broken", TINY)
        train(resumed, clips, last_step)
    assert resumed.step == unbroken.step == 4
    assert_equal(state(resumed), state(unbroken))


def test_a_stopped_run_leaves_a_checkpoint(clips, tmp_path):
    stopped = threading.Event()
    stopped.set()
    train(VaeTrainer(tmp_path / "run", TINY), clips, 4, stopped)
    assert VaeTrainer(tmp_path / "run", TINY).step == 1


def test_saved_weights_load_strictly_and_encode_to_unit_latents(clips, tmp_path):
    trainer = VaeTrainer(tmp_path, TINY)
    train(trainer, clips, 4)
    config = from_json(VaeConfig, json.loads((tmp_path / "vae.json").read_text())["vae"])
    saved = load_vae(tmp_path / "vae.safetensors", config)
    assert_equal(dict(saved.state_dict()), dict(trainer.average.module.vae.state_dict()))
    latents = torch.cat([saved.encode(clip).transpose(0, 1).flatten(1) for clip, _ in clips.validation()], dim=1)
    # Measured under bf16 autocast.
    torch.testing.assert_close(latents.mean(1), torch.zeros(16), atol=0.05, rtol=0)
    torch.testing.assert_close(latents.std(1), torch.ones(16), atol=0.05, rtol=0)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "text_psnr_db" in row] == [4]


@pytest.mark.parametrize("change", [{"seed": 4}, {"base_width": 10}, {"peak_lr": 0.1}, {"batch": 2}])
def test_a_resume_with_another_config_is_a_sentence(tmp_path, change):
    VaeTrainer(tmp_path, TINY).save()
    ((name, value),) = change.items()
    expected = rf"trained with {name} {getattr(TINY, name)}, now asked for {name} {value}; "
    with pytest.raises(ConfigError, match=expected):
        VaeTrainer(tmp_path, dataclasses.replace(TINY, **change))


def test_batches_are_drawn_by_their_seed_and_captions_stay(clips):
    a, b = (clips.batch(np.random.default_rng(7), clips=2) for _ in range(2))
    assert torch.equal(a, b)
    assert a.shape[1] == 3
    assert a.abs().max() <= 1
    (clip, text), (bare, empty), *_ = clips.validation()
    assert text.any()
    assert not empty.any()
    assert (clip[0, :, :, text] == 1).all()
    assert bare.shape == clip.shape == (1, 3, 9, 32, 32)


def test_a_blur_costs_edges_and_not_a_shift_of_brightness():
    truth = torch.rand(1, 3, 5, 16, 16)
    zero = torch.zeros(1, 16, 2, 2, 2)
    assert vae_terms(truth + 0.1, truth, zero, zero)["edges"] < 1e-6
    assert vae_terms(truth.mean().expand_as(truth), truth, zero, zero)["edges"] > 0.1
    assert vae_terms(truth, truth, zero, zero)["total"] == 0


def test_crops_of_footage_carry_their_caption_beside_them():
    rng = np.random.default_rng(1)
    clip = [rng.integers(0, 256, (360, 640, 3), np.uint8)] * vae_clips.FRAMES
    crops = [vae_clips.make_crop(clip, rng) for _ in range(12)]
    assert {c[0].shape for c in crops} == {(17, 160, 160, 3)}
    with_caption = sum(bool(caption.any()) for _, caption in crops)
    assert 2 <= with_caption <= 10
