"""Cases of `bench_kernels`: convolutions of Wan's VAE for a box of 1280x192, over frames and on doubled pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.kernel_cases import KernelCase, Rival
from clear_rt.kernels.causal_conv import CUBE, Taps, causal_conv, causal_conv_ref

# Rows of a picture that are compared with fp64, of which a GPU does few.
COMPARED_ROWS = 4


class Sizes(NamedTuple):
    """Frames, height and width of what comes out; channels in and out."""

    frames: int
    height: int
    width: int
    channels: int
    outputs: int


REAL = (
    (Sizes(4, 192, 1280, 96, 96), CUBE),
    (Sizes(4, 96, 640, 192, 192), CUBE),
    (Sizes(2, 48, 320, 384, 384), CUBE),
    (Sizes(1, 24, 160, 384, 384), CUBE),
    (Sizes(4, 96, 640, 192, 96), Taps(1, 2, 2)),
)
TINY = ((Sizes(2, 5, 7, 32, 16), CUBE), (Sizes(1, 5, 7, 32, 16), Taps(1, 2, 2)))


def convolution_cases(device: torch.device, *, tiny: bool) -> Iterator[KernelCase]:
    """Every width at its size; 1 x 2 x 2 is a quarter of a doubled picture."""
    for sizes, taps in TINY if tiny else REAL:
        yield _case(device, sizes, taps)


def _case(device: torch.device, sizes: Sizes, taps: Taps) -> KernelCase:
    positions, kernel = prod(sizes[:3]), f"{taps.frames}x{taps.rows}x{taps.columns}"
    seen = taps.frames - 1 + sizes.frames
    return KernelCase(
        op="causal_conv",
        shape=f"{kernel} {sizes.channels}to{sizes.outputs} {sizes.frames}x{sizes.height}x{sizes.width}",
        modules=("causal_conv",),
        inputs=partial(_inputs, device, sizes, taps),
        call=partial(_convolved, sizes, taps),
        exact=partial(_exact, sizes, taps),
        comparable=_compared,
        bytes=2 * (seen * positions // sizes.frames * sizes.channels + positions * sizes.outputs)
        + 2 * taps.weights * sizes.channels * sizes.outputs,
        flop=2 * taps.weights * sizes.channels * sizes.outputs * positions,
        ceiling="bf16",
        rivals=[Rival(name="cuDNN, channels last", call=partial(_by_torch, taps, torch.channels_last_3d))],
    )


def _inputs(device: torch.device, sizes: Sizes, taps: Taps) -> Sequence[Any]:
    """x with its past and border, weights by tap, bias."""
    frames, height, width, channels, outputs = sizes
    x = torch.randn(frames + taps.frames - 1, height + 2, width + 2, channels, device=device, dtype=torch.bfloat16)
    weight = torch.randn(taps.weights, outputs, channels, device=device) / (taps.weights * channels) ** 0.5
    return functional.pad(x[:, 1:-1, 1:-1], (0, 0, 1, 1, 1, 1)), weight.bfloat16(), torch.randn(outputs, device=device)


def _convolved(sizes: Sizes, taps: Taps, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out = x.new_empty(*sizes[:3], sizes.outputs)
    causal_conv(x, weight, bias, out, None, taps)
    return out


def _exact(sizes: Sizes, taps: Taps, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out = torch.empty(sizes.frames, COMPARED_ROWS, sizes.width, sizes.outputs, dtype=torch.float64, device=x.device)
    causal_conv_ref(x[:, : COMPARED_ROWS + taps.rows - 1].double(), weight.double(), bias.double(), out, None, taps)
    return out


def _compared(out: Tensor) -> Tensor:
    """NaN where any result has NaN."""
    return out[:, :COMPARED_ROWS].where(~out.isnan().any(), torch.nan)


def _by_torch(taps: Taps, layout: torch.memory_format, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Of the same buffer: its border is there already. Reordering the weights is counted, and little."""
    frames, rows, columns = taps.frames, taps.rows, taps.columns
    kernel = weight.reshape(frames, rows, columns, *weight.shape[1:]).permute(3, 4, 0, 1, 2)
    given = x[:, : x.shape[1] - 3 + rows, : x.shape[2] - 3 + columns].permute(3, 0, 1, 2)[None]
    made = functional.conv3d(given, kernel.contiguous(memory_format=layout), bias.to(x.dtype))
    return made[0].permute(1, 2, 3, 0)
