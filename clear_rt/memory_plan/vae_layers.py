"""What a layer of the streamed VAE (`runtime.vae_layers`) holds and needs, from the size of what flows through it.

Numbers are counts of values: of the network's own type, bfloat16 on a GPU, where not said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

PAST_FRAMES = 2
# Channels that a coder's first convolution is filled up to.
LEAST_CHANNELS = 32
_CUBE, _PLANE, _TIME, _DOUBLED = 27, 9, 3, 4


class Flow(NamedTuple):
    """Frames [T, H, W, C]."""

    frames: int
    height: int
    width: int
    channels: int

    @property
    def values(self) -> int:
        return self.frames * self.height * self.width * self.channels

    @property
    def bordered(self) -> int:
        """Values with a border of one position around every frame."""
        return self.frames * (self.height + 2) * (self.width + 2) * self.channels

    def of(self, channels: int) -> Flow:
        return self._replace(channels=channels)

    def over(self, frames: int) -> Flow:
        return self._replace(frames=frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer, of which `made` goes on to the next.

    `kept`: from one step to the next. `buffers`: what it fills with a border, which layers share. `laid_out`: weights
    that it holds in an order of its own, `floats` float32 values of these. `alive`: at its peak, what it takes and
    makes included, buffers not.
    """

    made: Flow
    parameters: int
    kept: int = 0
    buffers: tuple[Flow, ...] = ()
    laid_out: int = 0
    floats: int = 0
    alive: int = 0


def first_conv(x: Flow, channels: int) -> Layer:
    """`FirstConv`."""
    made, filled = x.of(channels), x.channels + -x.channels % LEAST_CHANNELS
    return Layer(
        made=made,
        parameters=_conv(_CUBE, x.channels, channels),
        kept=x.over(PAST_FRAMES).values,
        buffers=(x.over(PAST_FRAMES + x.frames).of(filled),),
        laid_out=_CUBE * filled * channels if filled > x.channels else 0,
        floats=channels,
        alive=x.values + made.values,
    )


def normed_conv(x: Flow, channels: int) -> Layer:
    """`NormedConv`."""
    made = x.of(channels)
    return Layer(
        made=made,
        parameters=x.channels + _conv(_CUBE, x.channels, channels),
        kept=x.over(PAST_FRAMES).values,
        buffers=(x.over(PAST_FRAMES + x.frames),),
        floats=x.channels + channels,
        alive=x.values + made.values,
    )


def residual(x: Flow, channels: int) -> Layer:
    """`Residual`: what goes past both convolutions is x itself where the channels stay."""
    first = normed_conv(x, channels)
    second = normed_conv(first.made, channels)
    past = 0 if x.channels == channels else second.made.values
    return Layer(
        made=second.made,
        parameters=first.parameters + second.parameters + (_conv(1, x.channels, channels) if past else 0),
        kept=first.kept + second.kept,
        buffers=first.buffers + second.buffers,
        floats=first.floats + second.floats,
        alive=x.values + past + first.made.values + second.made.values,
    )


def frame_attention(x: Flow) -> Layer:
    """`FrameAttention`, at its peak x and queries, keys and values, which are put in order once; no scores are held."""
    width = x.channels
    return Layer(
        made=x, parameters=width + _conv(1, width, 3 * width) + _conv(1, width, width), alive=(1 + 3 + 3) * x.values
    )


def halving(x: Flow, *, in_time: bool, begins: bool) -> Layer:
    """`Halving`: a row and a column of zeros are added before."""
    width = x.channels
    padded = x._replace(height=x.height + 1, width=x.width + 1)
    half = x._replace(height=x.height // 2, width=x.width // 2)
    made = half.over(x.frames // 2) if in_time and not begins else half
    joined = half.over(1 + x.frames).values if in_time else 0
    return Layer(
        made=made,
        parameters=_conv(_PLANE, width, width) + (_conv(_TIME, width, width) if in_time else 0),
        kept=half.over(1).values if in_time else 0,
        floats=width if in_time else 0,
        alive=x.values + padded.values + half.values + joined + (0 if made == half else made.values),
    )


def doubling(x: Flow, *, in_time: bool, begins: bool) -> Layer:
    """`Doubling`: four kernels of 2 x 2 in the place of one of 3 x 3."""
    width = x.channels
    longer = x.over(2 * x.frames) if in_time and not begins else x
    made = Flow(longer.frames, 2 * x.height, 2 * x.width, width // 2)
    joined = x.over(PAST_FRAMES + x.frames).values if longer != x else 0
    return Layer(
        made=made,
        parameters=_conv(_PLANE, width, width // 2) + (_conv(_TIME, width, 2 * width) if in_time else 0),
        kept=x.over(PAST_FRAMES).values if in_time else 0,
        buffers=(longer,),
        laid_out=4 * _DOUBLED * width * (width // 2) + (_TIME * 2 * width * width if in_time else 0),
        floats=width // 2 + (2 * width if in_time else 0),
        alive=x.values + max(joined, made.values),
    )


def pointwise(x: Flow, channels: int) -> Layer:
    """A convolution of 1 x 1, whose weights stay as they are."""
    made = x.of(channels)
    return Layer(made=made, parameters=_conv(1, x.channels, channels), alive=x.values + made.values)


def _conv(kernel: int, channels: int, outputs: int) -> int:
    """Parameters of a convolution."""
    return kernel * channels * outputs + outputs
