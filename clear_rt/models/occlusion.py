"""The occlusion head of Stage II (reference.md 7, design section 6): where tokens of the DiT lie under the subtitle."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN_CHANNELS = 64
# sigmoid(-2) = 0.12: an untrained head calls everything mostly visible.
_START_LOGIT = -2.0


class OcclusionHead(nn.Module):
    """M = sigmoid(Conv1x1(SiLU(Conv3x3(h)))) for every latent frame on its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, HIDDEN_CHANNELS, 3, padding=1)
        self.conv2 = nn.Conv2d(HIDDEN_CHANNELS, 1, 1)
        nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="linear")
        nn.init.zeros_(self.conv2.weight)
        for conv, start in ((self.conv1, 0.0), (self.conv2, _START_LOGIT)):
            assert conv.bias is not None
            nn.init.constant_(conv.bias, start)

    def forward(self, tokens: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """tokens [B, N, width] on a grid of latents x rows x columns -> probability [B, N]."""
        batch, width = tokens.shape[0], tokens.shape[-1]
        latents, rows, columns = grid
        pictures = tokens.reshape(batch * latents, rows, columns, width).permute(0, 3, 1, 2)
        logits = self.conv2(functional.silu(self.conv1(pictures)))
        return torch.sigmoid(logits).reshape(batch, latents * rows * columns)


def key_bias(probability: Tensor, beta: Tensor) -> Tensor:
    """probability [B, N], beta [H] -> [B, H, N], what `attention` adds to the logits: -beta * M.

    A negative beta counts as 0, which is plain attention. A gradient passes at 0, where training starts, but not below.
    """
    return -beta.clamp(min=0)[:, None] * probability[:, None, :]
