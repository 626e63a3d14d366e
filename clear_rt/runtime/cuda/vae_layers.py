"""Layers of the streamed VAE on frames [T, H, W, C], each with what it keeps from step to step in memory of its own.

A step changes these in place and allocates nothing that lasts, so that it can be captured in a CUDA graph. `begins`
starts a run whatever was kept before. Buffers with a border are shared by all layers of one geometry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from clear_rt.kernels.causal_conv import CUBE, LEAST_CHANNELS, Taps
from clear_rt.models.vae_blocks import PAST_FRAMES, AttentionBlock, ResidualBlock, RmsNorm
from clear_rt.models.vae_resample import Downsample, Upsample
from clear_rt.runtime.cuda.vae_ops import VaeOps

_ALONG_TIME = Taps(frames=3, rows=1, columns=1)
_EVERY_OTHER = _ALONG_TIME._replace(stride=2)
# Rows and columns of a kernel of 3 that meet the same position of a picture which is doubled, for even and odd results.
_DOUBLED = (((0,), (1, 2)), ((0, 1), (2,)))


class Buffers:
    """Frames with a border of zeros, which layers fill and read in turn: the first ones of the longest of a geometry.

    Whoever needs most should ask first: what is outgrown stays, as graphs know its address.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._held: defaultdict[tuple[int, int, int], list[Tensor]] = defaultdict(list)

    def bordered(self, frames: int, height: int, width: int, channels: int) -> Tensor:
        """[frames, height + 2, width + 2, channels]; whoever fills it leaves the border alone."""
        held = self._held[height, width, channels]
        if not held or len(held[-1]) < frames:
            held.append(self._like.new_zeros(frames, height + 2, width + 2, channels))
        return held[-1][:frames]

    @property
    def bytes(self) -> int:
        return sum(buffer.nbytes for held in self._held.values() for buffer in held)


class Layer(Protocol):
    """What a coder consists of."""

    def __call__(self, x: Tensor, begins: bool) -> Tensor:
        """x [T, H, W, C] -> [T', H', W', N]."""
        ...

    def kept(self) -> Iterator[Tensor]:
        """What is kept for the next step: memory of this layer, which is there after the first one."""
        ...


class Keeping:
    """A layer that keeps one tensor, or none."""

    _kept: Tensor | None = None

    def kept(self) -> Iterator[Tensor]:
        """As `Layer.kept`."""
        if self._kept is not None:
            yield self._kept


class NormedConv(Keeping):
    """Norm, SiLU and a causal convolution of 3 x 3 x 3."""

    def __init__(self, norm: RmsNorm, conv: nn.Conv3d, ops: VaeOps, buffers: Buffers) -> None:
        self._ops, self._buffers = ops, buffers
        self._gamma = norm.gamma.detach().flatten().float()
        self._weight, self._bias = tap_major(conv), float_bias(conv)

    def __call__(self, x: Tensor, begins: bool, residual: Tensor | None = None) -> Tensor:
        """x [T, H, W, C] -> [T, H, W, N], plus `residual`."""
        frames, height, width, channels = x.shape
        if self._kept is None:
            self._kept = x.new_zeros(PAST_FRAMES, height, width, channels)
        joined = self._buffers.bordered(PAST_FRAMES + frames, height, width, channels)
        self._ops.norm_silu(x, self._gamma, joined, self._kept, begins=begins)
        out = x.new_empty(frames, height, width, self._weight.shape[1])
        self._ops.conv(joined, self._weight, self._bias, out, CUBE, residual)
        return out


class FirstConv(Keeping):
    """A causal convolution of 3 x 3 x 3 on what enters a coder, channels filled up with zeros to what kernels take."""

    def __init__(self, conv: nn.Conv3d, ops: VaeOps, buffers: Buffers) -> None:
        self._ops, self._buffers = ops, buffers
        self._channels = conv.in_channels + -conv.in_channels % LEAST_CHANNELS
        self._weight = functional.pad(tap_major(conv), (0, self._channels - conv.in_channels))
        self._bias = float_bias(conv)

    def __call__(self, x: Tensor, begins: bool) -> Tensor:
        frames, height, width, channels = x.shape
        joined = self._buffers.bordered(PAST_FRAMES + frames, height, width, self._channels)
        inner = joined[:, 1:-1, 1:-1, :channels]
        if self._kept is None:
            self._kept = x.new_zeros(PAST_FRAMES, height, width, channels)
        if begins:
            self._kept.zero_()
        inner[:PAST_FRAMES] = self._kept
        inner[PAST_FRAMES:] = x
        self._kept.copy_(inner[-PAST_FRAMES:])
        out = x.new_empty(frames, height, width, self._weight.shape[1])
        self._ops.conv(joined, self._weight, self._bias, out, CUBE)
        return out


class Residual:
    """As `models.vae_blocks.ResidualBlock`."""

    def __init__(self, block: ResidualBlock, ops: VaeOps, buffers: Buffers) -> None:
        layers = list(block.residual)
        self._first = normed_conv(*layers[:3], ops=ops, buffers=buffers)
        self._second = normed_conv(*layers[3:], ops=ops, buffers=buffers)
        self._shortcut = block.shortcut if isinstance(block.shortcut, nn.Conv3d) else None

    def __call__(self, x: Tensor, begins: bool) -> Tensor:
        past = x if self._shortcut is None else pointwise(self._shortcut, x)
        return self._second(self._first(x, begins), begins, past)

    def kept(self) -> Iterator[Tensor]:
        """As `Layer.kept`."""
        yield from self._first.kept()
        yield from self._second.kept()


class FrameAttention(Keeping):
    """As `models.vae_blocks.AttentionBlock`."""

    def __init__(self, block: AttentionBlock) -> None:
        self._block = block

    def __call__(self, x: Tensor, begins: bool) -> Tensor:
        made: Tensor = self._block(x.permute(3, 0, 1, 2)[None])
        return made[0].permute(1, 2, 3, 0).contiguous()


class Halving(Keeping):
    """As `models.vae_resample.Downsample`."""

    def __init__(self, layer: Downsample, ops: VaeOps) -> None:
        self._ops = ops
        conv = layer.resample[1]
        assert isinstance(conv, nn.Conv2d)
        conv.weight.data = conv.weight.detach().contiguous(memory_format=torch.channels_last)
        self._weight, self._bias = conv.weight.detach(), conv.bias
        self._time = None if layer.time_conv is None else (tap_major(layer.time_conv), float_bias(layer.time_conv))

    def __call__(self, x: Tensor, begins: bool) -> Tensor:
        padded = functional.pad(x.permute(0, 3, 1, 2), (0, 1, 0, 1))
        x = functional.conv2d(padded, self._weight, self._bias, stride=2).permute(0, 2, 3, 1).contiguous()
        return x if self._time is None else self._halved(x, *self._time, begins=begins)

    def _halved(self, x: Tensor, weight: Tensor, bias: Tensor, *, begins: bool) -> Tensor:
        if self._kept is None:
            self._kept = x.new_zeros(1, *x.shape[1:])
        joined = torch.cat((self._kept, x))
        self._kept.copy_(x[-1:])
        if begins:
            return x
        out = x.new_empty(len(x) // 2, *x.shape[1:3], weight.shape[1])
        self._ops.conv(joined, weight, bias, out, _EVERY_OTHER)
        return out


class Doubling(Keeping):
    """As `models.vae_resample.Upsample`: a picture is never doubled in memory.

    Of each two rows and columns of the doubled picture one is the other; so what a 3 x 3 kernel sees there are 2 x 2
    different positions, others for even results than for odd ones: four kernels of sums of its weights.
    """

    def __init__(self, layer: Upsample, ops: VaeOps, buffers: Buffers) -> None:
        self._ops, self._buffers = ops, buffers
        conv = layer.resample[1]
        assert isinstance(conv, nn.Conv2d)
        self._bias = float_bias(conv)
        self._phases = [
            (top, left, doubled(conv, rows, columns))
            for top, rows in enumerate(_DOUBLED)
            for left, columns in enumerate(_DOUBLED)
        ]
        self._time = layer.time_conv
        if self._time is not None:
            channels = self._time.in_channels
            self._time_weights = [half.contiguous() for half in torch.split(tap_major(self._time), channels, dim=1)]
            self._time_biases = list(torch.split(float_bias(self._time), channels))

    def __call__(self, x: Tensor, begins: bool) -> Tensor:
        x = self._bordered(x) if self._time is None else self._in_time(x, begins)
        frames, height, width = len(x), x.shape[1] - 2, x.shape[2] - 2
        out = x.new_empty(frames, 2 * height, 2 * width, self._phases[0][2].shape[1])
        for top, left, weight in self._phases:
            self._ops.conv(x, weight, self._bias, out[:, top::2, left::2], Taps(1, 2, 2, top, left))
        return out

    def _bordered(self, x: Tensor) -> Tensor:
        bordered = self._buffers.bordered(*x.shape)
        bordered[:, 1:-1, 1:-1] = x
        return bordered

    def _in_time(self, x: Tensor, begins: bool) -> Tensor:
        """Two frames for each; the run's first stays one, and is not even what the next ones look back on."""
        if self._kept is None:
            self._kept = x.new_zeros(PAST_FRAMES, *x.shape[1:])
        if begins:
            self._kept.zero_()
            return self._bordered(x)
        joined = torch.cat((self._kept, x))
        self._kept.copy_(joined[-PAST_FRAMES:])
        frames, height, width, channels = x.shape
        bordered = self._buffers.bordered(2 * frames, height, width, channels)
        for i, (weight, bias) in enumerate(zip(self._time_weights, self._time_biases, strict=True)):
            self._ops.conv(joined, weight, bias, bordered[i::2, 1:-1, 1:-1], _ALONG_TIME)
        return bordered


def normed_conv(norm: nn.Module, *silu_and_conv: nn.Module, ops: VaeOps, buffers: Buffers) -> NormedConv:
    """Of layers as `models.vae_blocks.Layers` holds them: a norm, SiLU and what changes nothing, a convolution."""
    conv = silu_and_conv[-1]
    assert isinstance(norm, RmsNorm)
    assert isinstance(conv, nn.Conv3d)
    return NormedConv(norm, conv, ops, buffers)


def tap_major(conv: nn.Conv2d | nn.Conv3d) -> Tensor:
    """Weights [N, C, ...] as [taps, N, C], of which the convolution's own are a view from then on: held once."""
    outputs, channels = conv.weight.shape[:2]
    laid_out = conv.weight.detach().reshape(outputs, channels, -1).permute(2, 0, 1).contiguous()
    conv.weight.data = laid_out.permute(1, 2, 0).view(conv.weight.shape)
    return laid_out


def float_bias(conv: nn.Conv2d | nn.Conv3d) -> Tensor:
    assert conv.bias is not None
    return conv.bias.detach().float()


def doubled(conv: nn.Conv2d, rows: tuple[tuple[int, ...], ...], columns: tuple[tuple[int, ...], ...]) -> Tensor:
    """Weights [4, N, C]: of the given rows and columns of a 3 x 3 kernel summed up."""
    wide = conv.weight.detach().double()
    summed = [wide[:, :, r][..., c].sum((2, 3)) for r in map(list, rows) for c in map(list, columns)]
    return torch.stack(summed).to(conv.weight.dtype)


def pointwise(conv: nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    """A convolution of 1 x 1 on channels that lie last."""
    return functional.linear(x, conv.weight.flatten(1), conv.bias)
