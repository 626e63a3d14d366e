"""fp32 rounded to a narrower float, to nearest even; E4M3 saturates.

A GPU does this in one instruction. Triton's interpreter (3.6 to 3.8) cuts bfloat16 off and loses the carry of E4M3, so
that 127 becomes 64: there the value is put on the narrower grid first, which its conversion then keeps.

E4M3, the float of FP8 linears and attention, has 4 bits of exponent and 3 of significand, up to +-448.
"""

from __future__ import annotations

import triton
import triton.language as tl

from clear_rt.kernels.chips import INTERPRETED

_INTERPRETED = tl.constexpr(INTERPRETED)
# Adding and taking it away leaves a float below 2**22 rounded to an integer.
_ROUNDING = tl.constexpr(1.5 * 2**23)


@triton.jit
def narrow(x, dtype: tl.constexpr):
    """fp32 `x` in `dtype`, a float no wider; the GPU's own conversion to E4M3 saturates."""
    if dtype == tl.float8e4nv:
        if _INTERPRETED:
            bits = _on_grid(tl.clamp(x, -448.0, 448.0)).to(dtype).to(tl.uint8, bitcast=True)
            return tl.where(x == x, bits, 0x7F).to(tl.uint8).to(dtype, bitcast=True)
    elif _INTERPRETED and dtype == tl.bfloat16:
        bits = x.to(tl.uint32, bitcast=True)
        bits += tl.where(x == x, 0x7FFF + ((bits >> 16) & 1), 0)
        x = (bits & 0xFFFF0000).to(tl.float32, bitcast=True)
    return x.to(dtype)


@triton.jit
def _on_grid(x):
    """fp32 within +-448 on the grid of E4M3: steps are an eighth of the power of 2 below, 2**-9 at least."""
    bits = x.to(tl.uint32, bitcast=True)
    power = tl.maximum((bits & 0x7F800000).to(tl.float32, bitcast=True), 2.0**-6)
    step = power * 0.125
    return tl.where(x == x, ((x / step + _ROUNDING) - _ROUNDING) * step, x)
