"""Halving and doubling of height and width, and of the frames, between the stages of the Wan VAE.

The first frame of a run is on its own in time: never mixed with the second on the way down, never doubled on the way
up. Source: reference.md 3.1, 3.4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clear_rt.models.vae_blocks import PAST_FRAMES, CausalConv3d, per_frame
from clear_rt.models.vae_cache import History


class Downsample(nn.Module):
    """[B, C, T, H, W] -> [B, C, T', H/2, W/2]; `temporal`: T' = T/2, and (T - 1)/2 + 1 where the run begins."""

    def __init__(self, channels: int, *, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, 2))
        self.time_conv = nn.Conv3d(channels, channels, (PAST_FRAMES + 1, 1, 1), (2, 1, 1)) if temporal else None

    def forward(self, x: Tensor, history: History) -> Tensor:
        x = per_frame(self.resample, x)
        if self.time_conv is None:
            return x
        past = history.take()
        history.put(x[:, :, -1:])
        if past is not None:
            return self.time_conv(torch.cat((past, x), 2))
        if x.shape[2] == 1:
            return x
        return torch.cat((x[:, :, :1], self.time_conv(x)), 2)


class Upsample(nn.Module):
    """[B, C, T, H, W] -> [B, C/2, T', 2H, 2W]; `temporal`: T' = 2T, and 2(T - 1) + 1 where the run begins."""

    def __init__(self, channels: int, *, temporal: bool) -> None:
        super().__init__()
        # The original's "nearest-exact" picks the same pixels at a factor of 2, but becomes a gather per pixel in ONNX.
        self.resample = nn.Sequential(
            nn.Upsample(scale_factor=2.0, mode="nearest"),
            nn.Conv2d(channels, channels // 2, 3, padding=1),
        )
        self.time_conv = CausalConv3d(channels, 2 * channels, side_px=1) if temporal else None

    def forward(self, x: Tensor, history: History) -> Tensor:
        if self.time_conv is not None:
            x = self._doubled(self.time_conv, x, history)
        return per_frame(self.resample, x)

    def _doubled(self, time_conv: CausalConv3d, x: Tensor, history: History) -> Tensor:
        """Two frames for each; the run's first stays one, and is not even part of what the others look back on."""
        if not history.begins:
            return _interleaved(time_conv.causal(x, history))
        if x.shape[2] == 1:
            history.take()
            history.put(torch.zeros_like(x).expand(-1, -1, PAST_FRAMES, -1, -1))
            return x
        return torch.cat((x[:, :, :1], _interleaved(time_conv.causal(x[:, :, 1:], history))), 2)


def _interleaved(x: Tensor) -> Tensor:
    """[B, 2C, T, H, W] -> [B, C, 2T, H, W]: of each pair the first C channels are the earlier frame."""
    batch, channels, frames, height, width = x.shape
    halves = x.reshape(batch, 2, channels // 2, frames, height, width)
    return halves.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)
