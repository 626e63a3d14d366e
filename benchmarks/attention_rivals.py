"""Attention by other means than our kernels, of the same tensors: q, k, v [B, N, H, D] and bias [B, H, M] or None."""

from __future__ import annotations

from functools import partial

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.kernel_cases import Rival

CUDNN, FLASH, FLEX = "cuDNN", "flash", "FlexAttention"


def without_bias(name: str) -> str:
    return f"{name} without bias"


def sdpa_rivals(*, same: bool) -> list[Rival]:
    """SDPA without a bias, which is another result where the op has one."""
    return [
        Rival(
            name=name if same else without_bias(name),
            call=partial(_sdpa, backend),
            same=same,
            needs_gpu=backend == SDPBackend.CUDNN_ATTENTION,
        )
        for name, backend in ((CUDNN, SDPBackend.CUDNN_ATTENTION), (FLASH, SDPBackend.FLASH_ATTENTION))
    ]


def masked_rivals() -> list[Rival]:
    """SDPA with the bias as its mask, which it takes in the dtype of q, and for every query."""
    return [
        Rival(name=f"{name}, mask", call=partial(_sdpa, backend, masked=True), needs_gpu=True)
        for name, backend in ((CUDNN, SDPBackend.CUDNN_ATTENTION), ("efficient", SDPBackend.EFFICIENT_ATTENTION))
    ]


def flex_rival() -> Rival:
    """FlexAttention with the bias."""
    return Rival(name=FLEX, call=_flex, compiled=True)


def eager(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Both products in the dtype of q, softmax in fp32."""
    q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
    weights = (q @ k.mT * q.shape[-1] ** -0.5 + bias[:, :, None]).softmax(-1)
    out: Tensor = weights.to(v.dtype) @ v
    return out.transpose(1, 2)


def _sdpa(backend: SDPBackend, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, *, masked: bool = False) -> Tensor:
    mask = bias[:, :, None].to(q.dtype).expand(-1, -1, q.shape[1], -1) if masked and bias is not None else None
    q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


def _flex(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    def biased(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + bias[batch, head, key]

    q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
    return flex_attention(q, k, v, score_mod=biased).transpose(1, 2)
