"""Cases of `bench_kernels`: attention in bf16 and FP8 over the windows of the real model, with the bias and without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.attention_rivals import CUDNN, FLEX, eager, flex_rival, masked_rivals, sdpa_rivals, without_bias
from benchmarks.kernel_cases import (
    BOX,
    E4M3_TOLERANCE,
    FULL,
    SHORT_BOX,
    SMALLER,
    TINY,
    TINY_GRID,
    WAN,
    WIDE_BOX,
    KernelCase,
    Rival,
    Size,
    Target,
    torch_rivals,
)
from clear_rt.kernels import occlusion_attention_hopper as hopper
from clear_rt.kernels import occlusion_attention_plugin as plugin
from clear_rt.kernels.chips import INTERPRETED, capability_of, has_fp8
from clear_rt.kernels.fp8_blocks import dequantized, quantized_ref
from clear_rt.kernels.occlusion_attention import launch, occlusion_attention, occlusion_attention_ref
from clear_rt.kernels.occlusion_attention_fp8 import occlusion_attention_fp8
from clear_rt.kernels.quantize_values import quantize_values

GRIDS = (FULL, SMALLER, WIDE_BOX, BOX, SHORT_BOX)
# The prompt of 38 tokens, and one key for all of its padding.
PROMPT_KEYS = 39
# Queries that are compared with fp64, the first and the last one included.
SAMPLED = 64
# Weights and results are rounded to bf16, in torch logits, too; sums are in fp32.
BF16_ATTENTION_TOLERANCE = 6e-3
# Weights are rounded to E4M3; tensor cores keep some 14 bits of a sum of products.
FP8_ATTENTION_TOLERANCE = 1.3 * E4M3_TOLERANCE
# As many scores are 11 GB in fp32 with what softmax makes of them, a mask of SDPA for every query 1.8 GB.
MOST_SCORES_TOKENS = SHORT_BOX.tokens


def attention_cases(device: torch.device, *, tiny: bool) -> Iterator[KernelCase]:
    """Every length in bf16, then those in FP8, and the shapes that are one of a kind."""
    size, lengths = (TINY, [TINY_GRID.tokens]) if tiny else (WAN, [grid.tokens for grid in GRIDS])
    for tokens in lengths:
        for biased in (True, False):
            yield _bf16_case(device, size, tokens, biased)
    if INTERPRETED or has_fp8(_capability(device)):
        for tokens in lengths:
            for biased in (True, False):
                yield _fp8_case(device, size, tokens, biased)
    tokens = lengths[0] if tiny else BOX.tokens
    yield _prompt_case(device, size, tokens)
    yield from _kernel_cases(device, size, tokens)


def _bf16_case(device: torch.device, size: Size, tokens: int, biased: bool) -> KernelCase:
    rivals = sdpa_rivals(same=not biased)
    if biased:
        rivals.append(flex_rival())
        if tokens <= MOST_SCORES_TOKENS:
            rivals += [*torch_rivals(eager), *masked_rivals()]
    return KernelCase(
        op="occlusion_attention",
        shape=f"{tokens} bias" if biased else f"{tokens}",
        # Which of them runs depends on the chip.
        modules=("occlusion_attention", "occlusion_attention_hopper"),
        inputs=partial(_inputs, device, size, tokens, tokens, biased),
        call=_bf16,
        exact=_exact,
        comparable=_sampled,
        tolerance=BF16_ATTENTION_TOLERANCE,
        bytes=attention_bytes(size, tokens, tokens, 2) + 4 * size.heads * tokens * biased,
        flop=attention_flop(size, tokens, tokens),
        ceiling="bf16",
        rivals=rivals,
        targets=(Target(0.7, (without_bias(CUDNN),)), Target(1.1, (FLEX,))) if biased else (),
    )


def _fp8_case(device: torch.device, size: Size, tokens: int, biased: bool) -> KernelCase:
    """Queries, keys and values come in bf16, too, first, for rivals and to see what quantising costs."""

    def inputs() -> Sequence[Any]:
        q, k, v, bias = _inputs(device, size, tokens, tokens, biased)
        return q, k, v, bias, *quantized_ref(q), *quantized_ref(k), *quantize_values(v)

    def exact(*given: Any) -> Tensor:  # noqa: ANN401
        bias, q8, q_scale, k8, k_scale, v8, v_scale = given[3:]
        v = dequantized(v8.permute(0, 3, 1, 2), v_scale)[:, :tokens]
        return _exact(dequantized(q8, q_scale), dequantized(k8, k_scale), v, bias)

    sdpa, ours = sdpa_rivals(same=not biased), Rival(name="ours, bf16", call=_bf16)
    return KernelCase(
        op="occlusion_attention_fp8",
        shape=f"{tokens} bias" if biased else f"{tokens}",
        modules=("occlusion_attention_fp8",),
        inputs=inputs,
        call=lambda *given: occlusion_attention_fp8(*given[4:], given[3], torch.bfloat16),
        exact=exact,
        unquantized=lambda *given: _exact(*given[:4]),
        comparable=_sampled,
        tolerance=FP8_ATTENTION_TOLERANCE,
        bytes=attention_bytes(size, tokens, tokens, 1) + 4 * size.heads * tokens * biased,
        flop=attention_flop(size, tokens, tokens),
        ceiling="e4m3",
        rivals=[_of_first_four(rival) for rival in (*sdpa, *[flex_rival()] * biased, ours)],
        targets=(Target(1.1, tuple(rival.name for rival in sdpa)),) if tokens >= BOX.tokens else (),
    )


def _prompt_case(device: torch.device, size: Size, tokens: int) -> KernelCase:
    """Cross-attention to the prompt, whose padding is collapsed: bound by memory."""
    return KernelCase(
        op="occlusion_attention",
        shape=f"{tokens}x{PROMPT_KEYS} bias",
        modules=("occlusion_attention",),
        inputs=partial(_inputs, device, size, tokens, PROMPT_KEYS, True),
        call=_bf16,
        exact=_exact,
        comparable=_sampled,
        tolerance=BF16_ATTENTION_TOLERANCE,
        bytes=attention_bytes(size, tokens, PROMPT_KEYS, 2),
        flop=attention_flop(size, tokens, PROMPT_KEYS),
        rivals=[*sdpa_rivals(same=False), *torch_rivals(eager), *masked_rivals()],
    )


def _kernel_cases(device: torch.device, size: Size, tokens: int) -> Iterator[KernelCase]:
    """The kernels of `occlusion_attention` by themselves, to see which one a chip wants, and what a plugin launches."""
    found = [
        ("attention_pointers", "occlusion_attention", _by_pointers),
        ("attention_plugin", "occlusion_attention_plugin", _by_plugin),
    ]
    if INTERPRETED or _capability(device) in hopper.CAPABILITIES:
        found.append(("attention_descriptors", "occlusion_attention_hopper", _by_descriptors))
    for op, module, call in found:
        yield KernelCase(
            op=op,
            shape=f"{tokens} bias",
            modules=(module,),
            inputs=partial(_inputs, device, size, tokens, tokens, True),
            call=call,
            exact=_exact,
            comparable=_sampled,
            tolerance=BF16_ATTENTION_TOLERANCE,
            bytes=attention_bytes(size, tokens, tokens, 2) + 4 * size.heads * tokens,
            flop=attention_flop(size, tokens, tokens),
            ceiling="bf16",
        )


def _bf16(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = occlusion_attention(q, k, v, bias)[0]
    return out


def _by_pointers(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    out = torch.empty_like(q)
    launch(q, k, v, bias, out, None, capability_of(q))
    return out


def _by_plugin(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    out = torch.empty_like(q)
    plugin.launch(q, k, v, bias, out, capability_of(q))
    return out


def _by_descriptors(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    out = torch.empty_like(q)
    # The interpreter takes it for any chip, and has no multiprocessors to count.
    capability, programs = (capability_of(q), None) if q.is_cuda else (hopper.CAPABILITIES[0], 1)
    hopper.launch(q, k, v, bias, out, None, capability, programs)
    return out


def _capability(device: torch.device) -> int:
    return capability_of(torch.empty(0, device=device))


def attention_flop(size: Size, queries: int, keys: int) -> int:
    """Two products, each a multiplication and an addition per query, key and channel."""
    return 4 * queries * keys * size.width


def attention_bytes(size: Size, queries: int, keys: int, bytes_in: int) -> int:
    """Queries, keys and values read, the result written in bf16."""
    return (queries + 2 * keys) * size.width * bytes_in + 2 * queries * size.width


def _inputs(device: torch.device, size: Size, queries: int, keys: int, biased: bool) -> Sequence[Any]:
    q, k, v = (
        torch.randn(1, tokens, size.heads, size.head_width, device=device, dtype=torch.bfloat16)
        for tokens in (queries, keys, keys)
    )
    # Of heads that trust some keys less, up to a few units of the logits, whose deviation is 1.
    bias = -2 * torch.randn(1, size.heads, keys, device=device).abs() if biased else None
    return q, k, v, bias


def _rows(out: Tensor) -> Tensor:
    """The queries that are compared, of queries or of results."""
    tokens = out.shape[1]
    drawn = torch.randint(tokens, (SAMPLED,), generator=torch.Generator().manual_seed(tokens))
    drawn[0], drawn[-1] = 0, tokens - 1
    return out[:, drawn.to(out.device)]


def _sampled(out: Tensor) -> Tensor:
    """NaN where any query, compared or not, has NaN."""
    return _rows(out).where(~out.isnan().any(), torch.nan)


def _exact(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    wide = None if bias is None else bias.double()
    return occlusion_attention_ref(_rows(q).double(), k.double(), v.double(), wide)[0]


def _of_first_four(rival: Rival) -> Rival:
    """The same for calls that have more arguments than q, k, v and the bias."""
    call = rival.call
    return replace(rival, call=lambda *given: call(*given[:4]))
