"""Conversions to narrower floats are torch's, which round to nearest even, in the interpreter and on a GPU."""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
triton = pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")
import triton.language as tl  # noqa: E402

from clear_rt.kernels.narrow import narrow  # noqa: E402
from clear_rt.models.fp8 import E4M3, to_e4m3  # noqa: E402


@triton.jit
def narrow_kernel(x_ptr, out_ptr, COUNT: tl.constexpr):
    at = tl.arange(0, COUNT)
    tl.store(out_ptr + at, narrow(tl.load(x_ptr + at), out_ptr.dtype.element_ty))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, E4M3])
def test_every_size_of_number_is_rounded_to_nearest_even(draw, device, dtype):
    spread = draw(4096) * 10 ** torch.linspace(-9, 4, 4096, device=device)
    ties = torch.linspace(-512, 512, 3 * 1024 + 1, device=device)[:3072]
    edges = torch.tensor([0.0, -0.0, 448.0, -464.0, 2.0**-10, -3 * 2.0**-10, 127.0, 1e30], device=device)
    x = torch.cat((spread, ties, edges, edges.new_full((1016,), torch.nan)))
    found = torch.empty(x.shape, dtype=dtype, device=device)
    narrow_kernel[(1,)](x, found, COUNT=len(x))
    expected = to_e4m3(x) if dtype == E4M3 else x.to(dtype)
    torch.testing.assert_close(found.float(), expected.float(), rtol=0, atol=0, equal_nan=True)
