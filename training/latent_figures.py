"""How good what a transformer makes is, on validation windows: in latents, and decoded where there is a VAE."""

from __future__ import annotations

from itertools import pairwise
from math import log10

import torch
from torch import Tensor

from clear_rt.models.dit import Dit
from clear_rt.models.vae import Vae
from clear_rt.schedule import TIMESTEPS, sigmas
from training.flow import computing, text_of
from training.latent_data import Windows

# Of values in -1..1.
_PEAK_SQUARED = 4.0


@torch.inference_mode()
def sampled(dit: Dit, prompt: Tensor, control: Tensor, steps: int, seed: int = 0, batch: int = 12) -> Tensor:
    """Clean latents [B, C, L, h, w] made of pure noise and a control in so many Euler steps (reference.md 5)."""
    noise, made = torch.randn(control.shape, generator=torch.Generator().manual_seed(seed)), []
    for start in range(0, len(noise), batch):
        x, shown = (part[start : start + batch].to(prompt.device) for part in (noise, control))
        for now, then in pairwise(sigmas(steps)):
            timesteps = x.new_full((len(x),), TIMESTEPS * now)
            with computing(dit):
                velocity = dit(x, shown, timesteps, text_of(prompt, dit, len(x))).velocity
            x = x + velocity.float() * (then - now)
        made.append(x.to(control.device))
    return torch.cat(made)


def latent_errors(made: Tensor, windows: Windows) -> dict[str, float]:
    """Mean squared errors of latents: under the prior's map, elsewhere, and of their change from latent to latent."""
    text = windows.maps.repeat_interleave(2, -1).repeat_interleave(2, -2) > 0.5
    error = made - windows.clean
    squared = error.square().mean(1)
    return {
        "text": float(squared[text].mean()),
        "rest": float(squared[~text].mean()),
        "change": float(error.diff(dim=2).square().mean()),
    }


@torch.inference_mode()
def decoded(vae: Vae, latents: Tensor) -> list[Tensor]:
    """Latents [B, C, L, h, w] -> frames [3, F, H, W] of every clip, float16 in [-1, 1] on the CPU, latent by latent."""
    return [_decoded(vae, clip[None].to(next(vae.parameters()).device)) for clip in latents]


def psnr_db(made: list[Tensor], clean: list[Tensor], maps: Tensor, latent_frames: int) -> dict[str, float]:
    """PSNR of `decoded` latents against decoded clean ones, where the prior finds text and over all, in dB.

    What the VAE itself loses is in neither. maps [B, L, rows, columns] of `Windows`.
    """
    inside, texts, every, values = 0.0, 0, 0.0, 0
    for first, second, found in zip(made, clean, maps, strict=True):
        squared = (first.float() - second.float()).square().mean(0)
        text = _on_frames(found, squared.shape, latent_frames)
        inside, texts = inside + float(squared[text].sum()), texts + int(text.sum())
        every, values = every + float(squared.sum()), values + squared.numel()
    return {"psnr_text_db": _psnr_db(inside / max(texts, 1)), "psnr_db": _psnr_db(every / values)}


def _decoded(vae: Vae, latents: Tensor) -> Tensor:
    """One clip [1, C, L, h, w]; what is held at a time is what four frames take."""
    caches, frames = None, []
    for latent in latents.split(1, 2):
        part, caches = vae.decoder_step(latent, caches)
        frames.append(part[0].clamp(-1, 1).half().cpu())
    return torch.cat(frames, 1)


def _on_frames(maps: Tensor, shape: torch.Size, latent_frames: int) -> Tensor:
    """A map [L, rows, columns] of tokens on the frames [F, H, W] that they become, whether text is likely."""
    frames = torch.cat((maps[:1], maps[1:].repeat_interleave(latent_frames, 0)))
    rows, columns = shape[1] // maps.shape[1], shape[2] // maps.shape[2]
    return frames.repeat_interleave(rows, 1).repeat_interleave(columns, 2) > 0.5


def _psnr_db(squared: float) -> float:
    return 10 * log10(_PEAK_SQUARED / max(squared, 1e-12))
