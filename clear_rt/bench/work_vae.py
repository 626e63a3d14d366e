"""What the VAE's streamed steps cost: its layers walked with the sizes that flow through them, nothing is run.

Source: reference.md 3.1 and 3.4; `clear_rt.models.vae_coders` is the network itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

from clear_rt.bench.work import Work
from clear_rt.models.vae_config import VaeConfig

RGB = 3
_CAUSAL, _PLANE, _TIME, _POINT = 27, 9, 3, 1


@dataclass(frozen=True, slots=True)
class _Grid:
    """Frames and size of what flows between two layers."""

    frames: int
    height: int
    width: int

    @property
    def plane(self) -> int:
        return self.height * self.width

    @property
    def positions(self) -> int:
        return self.frames * self.plane

    def conv(self, width_in: int, width_out: int, kernel: int = _CAUSAL) -> Work:
        """A convolution that keeps the grid."""
        return Work.convolution(self.positions, self.positions, width_in, width_out, kernel)

    def residual(self, width_in: int, width_out: int) -> Work:
        work = self.conv(width_in, width_out) + self.conv(width_out, width_out)
        return work if width_in == width_out else work + self.conv(width_in, width_out, _POINT)

    def middle(self, width: int) -> Work:
        """Two residual blocks and attention over each frame by itself."""
        attended = Work.attention(self.plane, self.plane, width) * self.frames
        around = self.conv(width, 3 * width, _POINT) + self.conv(width, width, _POINT)
        return self.residual(width, width) * 2 + around + attended


def encode_work(vae: VaeConfig, height_px: int, width_px: int, *, first: bool = False) -> Work:
    """One latent out of pixels: of one frame at the start of a run, of `latent_frames` afterwards."""
    return _sum(_encoder(vae, _Grid(1 if first else vae.latent_frames, height_px, width_px), first))


def decode_work(vae: VaeConfig, height_px: int, width_px: int, *, first: bool = False) -> Work:
    """The frames of one latent of a picture of that size: one at the start of a run, `latent_frames` afterwards."""
    return _sum(_decoder(vae, _Grid(1, height_px // vae.latent_px, width_px // vae.latent_px), first))


def _encoder(vae: VaeConfig, grid: _Grid, first: bool) -> Iterator[Work]:
    yield grid.conv(RGB, vae.base_width)
    width_in = vae.base_width
    for stage, width in enumerate(vae.widths):
        for _ in range(vae.res_blocks):
            yield grid.residual(width_in, width)
            width_in = width
        if stage < len(vae.temporal_down):
            half = _Grid(grid.frames, grid.height // 2, grid.width // 2)
            yield Work.convolution(grid.positions, half.positions, width, width, _PLANE)
            grid = half
            # A run's first frame is not mixed with others in time.
            if vae.temporal_down[stage] and not first:
                fewer = _Grid(grid.frames // 2, grid.height, grid.width)
                yield Work.convolution(grid.positions, fewer.positions, width, width, _TIME)
                grid = fewer
    yield grid.middle(vae.widths[-1])
    moments = 2 * vae.latent_channels
    yield grid.conv(vae.widths[-1], moments)
    yield grid.conv(moments, moments, _POINT)


def _decoder(vae: VaeConfig, grid: _Grid, first: bool) -> Iterator[Work]:
    yield grid.conv(vae.latent_channels, vae.latent_channels, _POINT)
    yield grid.conv(vae.latent_channels, vae.widths[-1])
    yield grid.middle(vae.widths[-1])
    width_in = vae.widths[-1]
    for stage, width in reversed(list(enumerate(vae.widths))):
        for _ in range(vae.res_blocks + 1):
            yield grid.residual(width_in, width)
            width_in = width
        if stage > 0:
            if vae.temporal_down[stage - 1] and not first:
                yield grid.conv(width, 2 * width, _TIME)
                grid = _Grid(2 * grid.frames, grid.height, grid.width)
            doubled = _Grid(grid.frames, 2 * grid.height, 2 * grid.width)
            # The doubled picture is never written: the convolution reads each pixel of the small one.
            yield Work.convolution(grid.positions, doubled.positions, width, width // 2, _PLANE)
            grid, width_in = doubled, width // 2
    yield grid.conv(vae.widths[0], RGB)


def _sum(works: Iterator[Work]) -> Work:
    return reduce(add, works, Work())
