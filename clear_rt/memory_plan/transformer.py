"""The transformer of the `cuda` engine in bytes: weights, and what is alive at the peak of a step.

Counted is what `models.baked` allocates with the operations of `kernels.block_ops`; what is as large as a row of the
width or a table is left out of activations.
"""

from __future__ import annotations

from clear_rt.bench.work_dit import PATCH_VALUES, DitShape
from clear_rt.models.fp8_policy import KINDS, Fp8Policy, quantized_linears

HALF_BYTES, FLOAT_BYTES = 2, 4
MODULATION_ROWS = 6
_OCCLUSION_CHANNELS, _OCCLUSION_KERNEL = 64, 9
# Rows of the rotary tables, each a cosine and a sine in float32.
_POSITIONS, _TURN = 1024, 2


def parameters(dit: DitShape, timesteps: int) -> int:
    """Of the baked transformer with so many rows of time."""
    width, patch, keys = dit.width, PATCH_VALUES * dit.latent_channels, dit.text_keys
    linears = sum(inputs * outputs + outputs for inputs, outputs in _linears(dit).values())
    block = linears + (3 + 2 + MODULATION_ROWS) * width + 2 * keys * width + keys
    around = (patch * width + width) + patch * width + (width * patch + patch) + 2 * width
    time = timesteps * (MODULATION_ROWS + 1) * width
    return dit.layers * block + around + time + _occlusion_parameters(dit)


def weight_bytes(dit: DitShape, timesteps: int, *, fp8: bool, value_bytes: int = HALF_BYTES) -> int:
    """Parameters and rotary tables, of which what would lose by it stays in float32; `fp8`: linears of the policy."""
    floats = dit.layers * dit.text_keys + _weighted(dit) * dit.heads
    found = value_bytes * (parameters(dit, timesteps) - floats) + FLOAT_BYTES * floats
    if fp8:
        found += sum(_fp8_bytes(*_linears(dit)[_kind(name)], value_bytes) for name in _quantized(dit))
    return found + FLOAT_BYTES * _TURN * _POSITIONS * dit.width // dit.heads // 2


def step_bytes(dit: DitShape, tokens: int, *, fp8: bool) -> int:
    """Alive at the peak of a step, inputs and outputs left out: latents, control tokens, the block that needs most."""
    quantized = len(_quantized(dit)) // len(KINDS) if fp8 else 0
    peaks = [_block_bytes(dit, tokens, value_bytes=1)] if quantized else []
    if quantized < dit.layers:
        peaks.append(_block_bytes(dit, tokens, value_bytes=HALF_BYTES))
    given = HALF_BYTES * tokens * (PATCH_VALUES * dit.latent_channels + dit.width)
    return given + max(peaks)


def window_bytes(dit: DitShape, tokens: int, windows: int, *, fp8: bool) -> int:
    """Latents and control in and velocity out, and what `windows` under way have of them besides.

    Latents and the sums of velocities of two windows more are resident: one ahead, one that is slid back.
    """
    in_and_out = 2 * HALF_BYTES + FLOAT_BYTES
    # Control as it was stacked, from which a state is taken up, and in the transformer's type.
    under_way = windows * (FLOAT_BYTES + HALF_BYTES) + (windows + 2) * 2 * FLOAT_BYTES
    latents = tokens * PATCH_VALUES * dit.latent_channels * (in_and_out + under_way)
    # The scales of the rows of a product in FP8, all ones.
    return latents + (FLOAT_BYTES * tokens if fp8 else 0)


def _block_bytes(dit: DitShape, tokens: int, *, value_bytes: int) -> int:
    """`value_bytes`: of what goes into linears. The block's input is alive to its end, in the caller's hands."""
    whole, given = HALF_BYTES * dit.width, value_bytes * dit.width
    # x, normed; queries, keys and values, the first two once more normed and turned; attention, what is made of it.
    attended = whole + given + 3 * whole + 2 * whole + whole + whole
    # The wide layer, which GELU changes in place where its result is no narrower, then that and what is made of it.
    wide, activated = HALF_BYTES * dit.ffn_width, value_bytes * dit.ffn_width
    widest = max(wide + (activated if value_bytes < HALF_BYTES else 0), activated + whole)
    # x as it came, x now, what both attentions made, normed.
    fed_forward = 2 * whole + 2 * whole + given + widest
    probability = HALF_BYTES if dit.occlusion else 0
    return tokens * (max(attended, fed_forward) + probability)


def _linears(dit: DitShape) -> dict[str, tuple[int, int]]:
    """Width in and out of every kind of linear of a block."""
    width, wide = dit.width, dit.ffn_width
    square = (width, width)
    sizes = ((width, 3 * width), square, square, square, (width, wide), (wide, width))
    return dict(zip(KINDS, sizes, strict=True))


def _quantized(dit: DitShape) -> tuple[str, ...]:
    return quantized_linears(dit, Fp8Policy())


def _kind(name: str) -> str:
    """blocks.3.ffn.0 is an ffn.0."""
    return name.split(".", 2)[2]


def _fp8_bytes(inputs: int, outputs: int, value_bytes: int) -> int:
    """What a linear takes more in FP8 than otherwise: a byte for a weight, a scale for each output and the input."""
    return inputs * outputs * (1 - value_bytes) + FLOAT_BYTES * (outputs + 1)


def _weighted(dit: DitShape) -> int:
    return sum(dit.is_weighted(i) for i in range(dit.layers))


def _occlusion_parameters(dit: DitShape) -> int:
    if not dit.occlusion:
        return 0
    hidden = _OCCLUSION_CHANNELS
    return _OCCLUSION_KERNEL * dit.width * hidden + hidden + (hidden + 1) + _weighted(dit) * dit.heads
