"""A folder of weights as `clear-rt export` takes it, of a random transformer for training, and latents to train on."""

from __future__ import annotations

import json

import numpy as np
import torch
from safetensors.torch import save_file

from clear_rt.export.prompt import P_TRAIN, write_prompt
from clear_rt.models.config_json import as_json
from clear_rt.models.dit import Dit
from clear_rt.models.vae import Vae
from clear_rt.models.vae_config import VaeConfig
from training.base import BaseTraining
from training.dit_start import copying_start
from training.flow import prompt_embedding

BASE = BaseTraining(seed=3, width=144, heads=3, layers=3, steps=4, batch=3, checkpoint_every=10)
VAE = VaeConfig(base_width=2, res_blocks=1)


def base_folder(folder):
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    dit = Dit(BASE.dit)
    copying_start(dit)
    save_file({n: t.contiguous() for n, t in dit.state_dict().items()}, folder / "diffusion_pytorch_model.safetensors")
    save_file(Vae(VAE).state_dict(), folder / "vae.safetensors")
    write_prompt(folder / "prompt.safetensors", P_TRAIN, prompt_embedding(BASE.dit.text_width))
    (folder / "config.json").write_text(json.dumps({"dit": as_json(BASE.dit), "vae": as_json(VAE)}))
    return folder


def latent_shards(folder, side=20, clips=2):
    """Six shards of clips of two latents with captions in a band of the lower half; the sixth is for validation."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(6):
        clean = rng.normal(size=(clips, 16, 2, side, side)).astype(np.float16)
        control, maps = clean.copy(), np.zeros((clips, 2, side // 2, side // 2), np.uint8)
        control[..., side - 8 : side - 4, :] += 2
        maps[..., side // 2 - 4 : side // 2 - 2, :] = 255
        for name, array in (("clean", clean), ("control", control), ("maps", maps)):
            np.save(folder / f"{name}-{number:03d}.npy", array)
    return folder
