"""Stage II losses of CLEAR (arXiv 2603.21901): L_distill + L_gen + 0.1 L_sparse, and consistency over time.

The paper where it and the released code differ (reference.md 7 and 8.2): the weight follows the head's own map, with
gamma 0.8 and a period of 40 steps; the code's is binary, 1.5 and 20. Consistency is known from the code alone; the
code's weight of timesteps is left out, being 0 where every sampler begins. Against the paper the map in the weight is a
constant unless asked otherwise: errors are largest under text, so with a gradient it learns to be 0, and after 150
steps it was 0.002 everywhere (docs/LOG.md, 2026-11-25).
"""

from __future__ import annotations

from math import pi, sin

import torch
from torch import Tensor
from torch.nn import functional

ALPHA_PERIOD_STEPS = 40
# The mean of `focus` over its period, for a weight that does not swing.
STEADY_FOCUS = 5.0 + 20.0 / pi
GAMMA = 0.8
SPARSE_SHARE = 0.1
# Latents between two velocities that are compared; each counts with 1 / its distance.
DISTANCES_LATENTS = (1, 4, 8, 16)
_CHARBONNIER_EPS = 1e-3
_PROBABILITY_EPS = 1e-7
_ERROR_EPS = 1e-6


def focus(step: int) -> float:
    """How much more an error under the subtitle counts at a step of training, 5 to 15: 5 + 10 |sin(2 pi k / 40)|."""
    return 5.0 + 10.0 * abs(sin(2 * pi * step / ALPHA_PERIOD_STEPS))


def generation(velocity: Tensor, target: Tensor, occlusion: Tensor, alpha: float, feedback: bool = False) -> Tensor:
    """Focal error of the flow: the mean of w e with w = (1 + alpha M) (e + 1e-6)^0.8 at every latent (reference.md 7).

    velocity, target [B, C, L, h, w]; occlusion M [B, L, h / 2, w / 2], 0..1. The error's own size in the weight is a
    constant, and so is the map unless `feedback`, with which the head learns from what generation costs.
    """
    error = (velocity - target).square().mean(dim=1)
    mask = functional.interpolate(occlusion if feedback else occlusion.detach(), scale_factor=2.0, mode="nearest")
    weight = (1 + alpha * mask) * (error.detach() + _ERROR_EPS) ** GAMMA
    return (weight * error).mean()


def distillation(occlusion: Tensor, prior: Tensor) -> Tensor:
    """The head's map against the prior's on the same grid, [B, L, rows, columns], 0..1."""
    return functional.smooth_l1_loss(occlusion, prior)


def sparsity(occlusion: Tensor, prior: Tensor) -> Tensor:
    """Little of the picture is text: the map's mean, and half its divergence (Bernoulli) from the prior's map."""
    p, q = (x.clamp(_PROBABILITY_EPS, 1 - _PROBABILITY_EPS) for x in (occlusion, prior))
    divergence = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    return occlusion.mean() + 0.5 * divergence.mean()


def consistency(velocity: Tensor) -> Tensor:
    """Change over time at several distances, Charbonnier: the mean of those that fit into a window [B, C, L, h, w].

    0 for a single latent.
    """
    terms = []
    for distance in DISTANCES_LATENTS:
        if distance < velocity.shape[2]:
            change = velocity[:, :, distance:] - velocity[:, :, :-distance]
            terms.append((change.square() + _CHARBONNIER_EPS**2).sqrt().mean() / distance)
    return torch.stack(terms).mean() if terms else velocity.new_zeros(())


def prior_on_latents(occlusion: Tensor, latent_frames: int, patch_px: int) -> Tensor:
    """Maps of the prior [B, F, H, W] -> [B, L, H / patch, W / patch] of the tokens: the strongest of all they cover.

    F = 1 + k latent_frames, as the VAE takes frames: the first on its own. Raises ValueError for other lengths.
    """
    frames = occlusion.shape[1]
    if (frames - 1) % latent_frames:
        raise ValueError(f"expected 1 + a multiple of {latent_frames} frames, got {frames}")
    tokens = functional.max_pool2d(occlusion, patch_px)
    later = tokens[:, 1:].unflatten(1, (-1, latent_frames)).amax(dim=2) if frames > 1 else tokens[:, 1:]
    return torch.cat((tokens[:, :1], later), 1)
