"""Cases of `bench_kernels`: steps over latents, and the norm within the VAE, for boxes of the real model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.kernel_cases import BOXES_PX, FP32_TOLERANCE, TINY_BOX_PX, KernelCase, torch_rivals
from clear_rt.kernels.hold_overlap import fade_overlap, fade_overlap_ref, hold_overlap, hold_overlap_ref
from clear_rt.kernels.norm_silu import norm_silu, norm_silu_ref
from clear_rt.kernels.window_step import window_step, window_step_ref
from clear_rt.models.vae_blocks import PAST_FRAMES

# Latents of a run of two windows, of one, and of what the two share.
RUN_LATENTS, WINDOW_LATENTS, SHARED_LATENTS = 37, 21, 5
LATENT_CHANNELS, LATENT_PX = 16, 8
# Channels and frames of what the decoder norms at a part of the smaller box's size.
DECODER = ((96, 4, 1), (192, 4, 2), (384, 1, 8))
TINY_DECODER = ((12, 2, 8),)


class Window(NamedTuple):
    """Sizes of latents: channels, how many there are and are in the window, height and width."""

    channels: int
    total: int
    latents: int
    shared: int
    height: int
    width: int

    def drawn(self, device: torch.device, latents: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(self.channels, latents, self.height, self.width, device=device, dtype=dtype)

    @property
    def values(self) -> int:
        """Of one latent."""
        return self.channels * self.height * self.width


def latent_cases(device: torch.device, *, tiny: bool) -> Iterator[KernelCase]:
    """Every op at every size."""
    boxes = (TINY_BOX_PX,) if tiny else BOXES_PX
    for channels, frames, part in TINY_DECODER if tiny else DECODER:
        yield _silu_case(device, channels, frames, boxes[0][1] // part, boxes[0][0] // part)
    for width_px, height_px in boxes:
        window = Window(
            channels=LATENT_CHANNELS,
            total=RUN_LATENTS,
            latents=WINDOW_LATENTS,
            shared=SHARED_LATENTS,
            height=height_px // LATENT_PX,
            width=width_px // LATENT_PX,
        )
        for case in (_step_case, _hold_case, _fade_case):
            yield case(device, f"{width_px}x{height_px}", window)


def _silu_case(device: torch.device, channels: int, frames: int, height: int, width: int) -> KernelCase:
    def inputs() -> Sequence[Any]:
        x = _channels_last(torch.randn(1, channels, frames, height, width, device=device, dtype=torch.bfloat16))
        joined = torch.randn(1, channels, PAST_FRAMES + frames, height, width, device=device, dtype=torch.bfloat16)
        joined[:, :, :frames] = torch.nan
        return x, 1 + 0.3 * torch.randn(channels, device=device), _channels_last(joined)

    def call(x: Tensor, gamma: Tensor, joined: Tensor) -> Tensor:
        norm_silu(x, gamma, joined, joined, None)
        return joined

    return KernelCase(
        op="norm_silu",
        shape=f"{channels}x{frames}x{height}x{width}",
        modules=("norm_silu",),
        inputs=inputs,
        call=call,
        exact=lambda x, gamma, past: norm_silu_ref(x.double(), gamma.double(), past.double()),
        bytes=2 * channels * height * width * (frames + PAST_FRAMES + PAST_FRAMES + frames),
        rivals=torch_rivals(norm_silu_ref),
    )


def _step_case(device: torch.device, box: str, window: Window) -> KernelCase:
    """The second of two windows: it shares its first latents with the first, and all end with it."""
    start = window.total - window.latents
    opens = torch.arange(window.latents, device=device) >= window.shared
    closes = torch.ones_like(opens)

    def inputs() -> Sequence[Any]:
        sums = window.drawn(device, window.total)
        sums[:, start + window.shared :] = torch.nan
        velocity = window.drawn(device, window.latents, torch.bfloat16)
        shares, change = torch.rand(window.latents, device=device), torch.randn(4, device=device)
        step = torch.ones(1, dtype=torch.int64, device=device)
        return window.drawn(device, window.total), sums, velocity, start, shares, opens, closes, change, step

    def call(latents: Tensor, sums: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        window_step(latents, sums, *rest)
        return latents, sums[:, start:]

    def exact(latents: Tensor, sums: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        velocity, _, shares, _, _, change, step = rest
        args = velocity.double(), start, shares.double(), opens, closes, change[step].double()
        latents, sums = window_step_ref(latents.double(), sums.double(), *args)
        return latents, sums[:, start:]

    def in_torch(latents: Tensor, sums: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        velocity, _, shares, _, _, change, step = rest
        here, added = slice(start, start + window.latents), velocity * shares[:, None, None]
        total = torch.where(opens[:, None, None], added, sums[:, here] + added)
        sums[:, here] = total
        latents[:, here] += torch.where(closes[:, None, None], total * change[step], 0)
        return latents, sums[:, start:]

    return KernelCase(
        op="window_step",
        shape=box,
        modules=("window_step",),
        inputs=inputs,
        call=call,
        exact=exact,
        tolerance=FP32_TOLERANCE,
        # Velocity read, sums read where they are shared and written, latents read and written.
        bytes=window.values * (window.latents * (2 + 4 + 4 + 4) + window.shared * 4),
        rivals=torch_rivals(in_torch),
    )


def _hold_case(device: torch.device, box: str, window: Window) -> KernelCase:
    def inputs() -> Sequence[Any]:
        latents, noise = (window.drawn(device, window.latents) for _ in range(2))
        latents[:, : window.shared] = torch.nan
        sigmas, step = torch.rand(4, device=device), torch.ones(1, dtype=torch.int64, device=device)
        return latents, window.drawn(device, window.shared), noise, sigmas, step

    def call(latents: Tensor, *rest: Tensor) -> Tensor:
        hold_overlap(latents, *rest)
        return latents

    def exact(latents: Tensor, held: Tensor, noise: Tensor, sigmas: Tensor, step: Tensor) -> Tensor:
        return hold_overlap_ref(latents.double(), held.double(), noise.double(), sigmas[step].double())

    def in_torch(latents: Tensor, held: Tensor, noise: Tensor, sigmas: Tensor, step: Tensor) -> Tensor:
        latents[:, : window.shared] = torch.lerp(held, noise[:, : window.shared], sigmas[step])
        return latents

    return KernelCase(
        op="hold_overlap",
        shape=box,
        modules=("hold_overlap",),
        inputs=inputs,
        call=call,
        exact=exact,
        tolerance=FP32_TOLERANCE,
        bytes=window.values * window.shared * (4 + 4 + 4),
        rivals=torch_rivals(in_torch),
    )


def _fade_case(device: torch.device, box: str, window: Window) -> KernelCase:
    def inputs() -> Sequence[Any]:
        shares = torch.rand(window.shared, device=device)
        return window.drawn(device, window.latents), window.drawn(device, window.shared), shares, 1 - shares

    def call(latents: Tensor, *rest: Tensor) -> Tensor:
        fade_overlap(latents, *rest)
        return latents

    def in_torch(latents: Tensor, held: Tensor, shares: Tensor, kept: Tensor) -> Tensor:
        shared = latents[:, : window.shared]
        shared.mul_(shares[:, None, None]).add_(held * kept[:, None, None])
        return latents

    return KernelCase(
        op="fade_overlap",
        shape=box,
        modules=("hold_overlap",),
        inputs=inputs,
        call=call,
        exact=lambda *given: fade_overlap_ref(*(tensor.double() for tensor in given)),
        tolerance=FP32_TOLERANCE,
        bytes=window.values * window.shared * (4 + 4 + 4),
        rivals=torch_rivals(in_torch),
    )


def _channels_last(x: Tensor) -> Tensor:
    return x.to(memory_format=torch.channels_last_3d)
