"""A transformer's first weights: the flow of a video that already is what its control shows.

Noise and control pass through the blocks beside each other, and the head tells x = (1 - sigma) clean + sigma noise with
clean = control as noise - clean = (x - control) / sigma. Training is left with where clean and control differ; from
weights drawn at random it would first have to learn to copy 64 values of noise exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clear_rt.errors import ConfigError
from clear_rt.models.dit import Dit, sinusoids
from clear_rt.models.dit_blocks import PATCH_VALUES
from clear_rt.schedule import TIMESTEPS

# Two channels of +- this: the layer norm then divides by nearly the same for every token.
CONSTANT = 12.0
SPARE_GAIN = 0.3
# Below this noise level 1 / sigma is held: no sampler of 2 to 20 steps evaluates much below it.
LEAST_SIGMA = 0.3
_RIDGE = 1e-6


@torch.no_grad()
def copying_start(dit: Dit) -> None:
    """Sets embeddings, modulations and head; branches of the blocks add nothing yet.

    Raises ConfigError where the width has no room for a patch of noise, one of control and two constants.
    """
    config = dit.config
    values = PATCH_VALUES * config.latent_channels
    if config.width < 2 * values + 2:
        raise ConfigError(f"expected a transformer at least {2 * values + 2} wide to start with, got {config.width}")
    deviation = _embedding(dit, values)
    _head(dit, values, deviation)
    _time(dit)
    for block in dit.blocks:
        block.modulation.zero_()
        block.modulation[:, (2, 5)] = 1.0
        for last in (block.self_attn.o, block.cross_attn.o, block.ffn[-1]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)


def _embedding(dit: Dit, values: int) -> float:
    """Patches of noise, then of control, then the constants; returns the deviation of a token over its channels."""
    patches, channels = dit.patch_embedding, dit.config.latent_channels
    patches.weight.mul_(SPARE_GAIN)
    patches.weight[: 2 * values + 2] = 0
    patches.weight[2 * values + 2 :, 2 * channels :] = 0
    rows = patches.weight.flatten(2).unflatten(1, (dit.config.slots, channels))
    for slot in range(2):
        for channel in range(channels):
            first = slot * values + channel * PATCH_VALUES
            rows[first : first + PATCH_VALUES, slot, channel] = torch.eye(PATCH_VALUES)
    patches.weight.copy_(rows.flatten(1, 2).view_as(patches.weight))
    patches.bias.zero_()
    patches.bias[2 * values], patches.bias[2 * values + 1] = CONSTANT, -CONSTANT
    power = patches.weight.square().sum() + patches.bias.square().sum()
    return float((power / dit.config.width).sqrt())


def _head(dit: Dit, values: int, deviation: float) -> None:
    """Noise minus control; the head's values are ordered row, column, channel, the embedding's channel, row, column."""
    head, channels = dit.head.head, dit.config.latent_channels
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    order = torch.arange(values).view(channels, PATCH_VALUES).T.flatten()
    head.weight[torch.arange(values), order] = deviation
    head.weight[torch.arange(values), values + order] = -deviation
    dit.head.modulation.zero_()


def _time(dit: Dit) -> None:
    """Every channel of the embedded time is 1 / sigma - 1: as scale it divides by sigma, as shift it cancels."""
    first, _, last = dit.time_embedding
    timesteps = torch.linspace(1.0, TIMESTEPS, 500, dtype=torch.float64)
    wanted = 1 / (timesteps / TIMESTEPS).clamp_min(LEAST_SIGMA) - 1
    seen = nn.functional.silu(first(sinusoids(timesteps, dit.config.freq_width).float())).double()
    seen = torch.cat((seen, torch.ones(len(seen), 1, dtype=seen.dtype)), 1)
    product = seen.T @ seen + _RIDGE * len(seen) * torch.eye(seen.shape[1], dtype=seen.dtype)
    found: Tensor = torch.linalg.solve(product, seen.T @ wanted)
    last.weight.copy_(found[:-1].float().expand_as(last.weight))
    last.bias.fill_(float(found[-1]))
    projection = dit.time_projection[-1]
    projection.weight.mul_(SPARE_GAIN)
    nn.init.zeros_(projection.bias)
