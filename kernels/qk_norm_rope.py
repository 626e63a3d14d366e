"""What stands between the qkv linear and attention: queries and keys normed over the width, turned, split into heads.

    x / rms(x) * weight, then every pair of adjacent values turned by position x frequency (clear_rt.models.rope)

One program holds one token, whose queries and keys are read once and written once. It works out where the token stands
in the grid and gathers cosine and sine from a table of 512 KB at most, which stays in the caches; a table of all tokens
would be as much to read as the queries themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from clear_rt.kernels.chips import capability_of
from clear_rt.kernels.contract import Contract
from clear_rt.kernels.narrow import narrow
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import HEAD_WIDTH, WIDTH, Variant, pointers
from clear_rt.models.rope import MAX_POSITIONS, axis_pairs, axis_tables, rotate

OP = "qk_norm_rope"


def turns_table(head_width: int, positions: int = MAX_POSITIONS) -> Tensor:
    """fp32 [2, positions, head_width / 2]: cosine and sine of position x frequency; a column belongs to one axis."""
    return torch.cat(axis_tables(head_width, positions), -1).float()


def turns_at(turns: Tensor, token: Tensor, rows: int, columns: int) -> Tensor:
    """token int64 [N], counted by frame, row, column -> what the table has for each, [2, N, D / 2]."""
    by_time, by_row, by_column = turns.split(axis_pairs(2 * turns.shape[-1]), -1)
    line = token // columns
    return torch.cat((by_time[:, line // rows], by_row[:, line % rows], by_column[:, token % columns]), -1)


def norm_rope_ref(x: Tensor, weight: Tensor, turn: Tensor, eps: float) -> Tensor:
    """x [B, N, C], turn [2, N, D / 2] -> [B, N, H, D] in fp32 at least."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps) * weight
    return rotate(normed.unflatten(-1, (-1, 2 * turn.shape[-1])), turn)


def qk_norm_rope_ref(
    q: Tensor, k: Tensor, weight_q: Tensor, weight_k: Tensor, turns: Tensor, rows: int, columns: int, eps: float
) -> tuple[Tensor, Tensor]:
    """The formula, in fp32 at least; the result is rounded once."""
    turn = turns_at(turns, torch.arange(q.shape[1], device=q.device), rows, columns)
    return norm_rope_ref(q, weight_q, turn, eps).to(q.dtype), norm_rope_ref(k, weight_k, turn, eps).to(q.dtype)


@triton.jit
def turn_of(turns_ptr, token, inside, rows, columns, positions, PAIRS, ROWS_FROM, COLUMNS_FROM, BLOCK: tl.constexpr):
    """Cosine and sine [N, BLOCK] of tokens [N, 1], of which `inside` count."""
    pair = tl.arange(0, BLOCK)[None, :]
    line = token // columns
    position = tl.where(pair < ROWS_FROM, line // rows, tl.where(pair < COLUMNS_FROM, line % rows, token % columns))
    at, inside = turns_ptr + position * PAIRS + pair, inside & (pair < PAIRS)
    return tl.load(at, mask=inside, other=0.0), tl.load(at + positions * PAIRS, mask=inside, other=0.0)


@triton.jit
def turned(x, cosine, sine):
    """x [N, D] with every pair of adjacent values turned by cosine and sine, [N, D / 2] or [1, D / 2]."""
    even, odd = tl.split(tl.reshape(x, [x.shape[0], x.shape[1] // 2, 2]))
    return tl.reshape(tl.join(even * cosine - odd * sine, even * sine + odd * cosine), x.shape)


@triton.jit
def _token(x_ptr, weight_ptr, out_ptr, place, inside, cosine, sine, eps, WIDTH: tl.constexpr):
    x = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + place, mask=inside, other=0.0).to(tl.float32)
    # One factor for the token: cosine and sine, shared by its heads, are fewer than its values.
    inverse = tl.math.rsqrt(tl.sum(x * x) / WIDTH + eps)
    y = turned(x * weight, cosine * inverse, sine * inverse)
    tl.store(out_ptr + place, narrow(y, out_ptr.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["tokens", "rows", "columns", "positions"])
def qk_norm_rope_kernel(
    q_ptr,
    k_ptr,
    weight_q_ptr,
    weight_k_ptr,
    turns_ptr,
    q_out_ptr,
    k_out_ptr,
    q_batch_stride,
    q_token_stride,
    k_batch_stride,
    k_token_stride,
    tokens,
    rows,
    columns,
    positions,
    eps,
    HEADS: tl.constexpr,
    HEAD_WIDTH: tl.constexpr,
    ROWS_FROM: tl.constexpr,
    COLUMNS_FROM: tl.constexpr,
    HEADS_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    token, batch = tl.program_id(0), tl.program_id(1).to(tl.int64)
    cosine, sine = turn_of(
        turns_ptr, token, True, rows, columns, positions, HEAD_WIDTH // 2, ROWS_FROM, COLUMNS_FROM, BLOCK // 2
    )
    head, value = tl.arange(0, HEADS_BLOCK)[:, None], tl.arange(0, BLOCK)[None, :]
    place, inside = head * HEAD_WIDTH + value, (head < HEADS) & (value < HEAD_WIDTH)
    width: tl.constexpr = HEADS * HEAD_WIDTH
    token = token.to(tl.int64)
    out = (batch * tokens + token) * width
    q_row = q_ptr + batch * q_batch_stride + token * q_token_stride
    _token(q_row, weight_q_ptr, q_out_ptr + out, place, inside, cosine, sine, eps, width)
    k_row = k_ptr + batch * k_batch_stride + token * k_token_stride
    _token(k_row, weight_k_ptr, k_out_ptr + out, place, inside, cosine, sine, eps, width)


@torch.library.custom_op("clear_rt::qk_norm_rope", mutates_args=())
def qk_norm_rope(
    q: Tensor, k: Tensor, weight_q: Tensor, weight_k: Tensor, turns: Tensor, rows: int, columns: int, eps: float
) -> tuple[Tensor, Tensor]:
    """q and k [B, N, C] of any float, weights [C], turns fp32 [2, P, D / 2] -> both [B, N, H, D] in the dtype of q.

    `turns` is `turns_table(D)`; the N tokens are whole frames of rows x columns.

    Raises:
        ValueError: other shapes or dtypes, gaps within a token, part of a frame, a position beyond P.
        EngineError: no GPU.
    """
    check(Contract(OP), q, k, weight_q, weight_k, turns, rows, columns)
    q_out, k_out = _qk_norm_rope_fake(q, k, weight_q, weight_k, turns, rows, columns, eps)
    batches, tokens, heads, head_width = q_out.shape
    chosen = tile(OP, capability_of(q))
    if q_out.numel():
        qk_norm_rope_kernel[tokens, batches](
            q,
            k,
            weight_q,
            weight_k,
            turns,
            q_out,
            k_out,
            q.stride(0),
            q.stride(1),
            k.stride(0),
            k.stride(1),
            tokens,
            rows,
            columns,
            turns.shape[1],
            eps,
            **constants(heads, head_width),
            HEADS_BLOCK=triton.next_power_of_2(heads),
            num_warps=chosen.warps,
            num_stages=chosen.stages,
        )
    return q_out, k_out


@qk_norm_rope.register_fake
def _qk_norm_rope_fake(
    q: Tensor, k: Tensor, weight_q: Tensor, weight_k: Tensor, turns: Tensor, rows: int, columns: int, eps: float
) -> tuple[Tensor, Tensor]:
    head_width = 2 * turns.shape[-1]
    shape = (q.shape[0], q.shape[1], q.shape[2] // head_width, head_width)
    return q.new_empty(shape), q.new_empty(shape)


def check(
    contract: Contract, q: Tensor, k: Tensor, weight_q: Tensor, weight_k: Tensor, turns: Tensor, rows: int, columns: int
) -> None:
    """What both forms of the op, dense and FP8, ask for."""
    contract.tensor("q", q, "B N C")
    contract.tensor("k", k, "B N C", (q.dtype,))
    contract.tensor("weight_q", weight_q, "C")
    contract.tensor("weight_k", weight_k, "C", (weight_q.dtype,))
    contract.tensor("turns", turns, "2 P E", (torch.float32,), dense_axes=3)
    tokens, width, positions, head_width = q.shape[1], q.shape[2], turns.shape[1], 2 * turns.shape[2]
    if head_width == 0 or width % head_width:
        raise ValueError(
            f"{contract.op}: expected C a multiple of {head_width}, turns being for such heads, got {width}"
        )
    if min(rows, columns) < 1 or tokens % (rows * columns):
        raise ValueError(f"{contract.op}: expected N in frames of {rows} rows x {columns} columns, got {tokens}")
    if (most := max(tokens // (rows * columns), rows, columns)) > positions:
        raise ValueError(f"{contract.op}: expected at most {positions} positions on an axis, as turns has, got {most}")


def constants(heads: int, head_width: int) -> dict[str, object]:
    """Those that both forms of the kernel share."""
    time, row, _ = axis_pairs(head_width)
    return {
        "HEADS": heads,
        "HEAD_WIDTH": head_width,
        "ROWS_FROM": time,
        "COLUMNS_FROM": time + row,
        "BLOCK": triton.next_power_of_2(head_width),
    }


STRIDES = {
    f"{name}_stride": "i64" if name.endswith("batch") else "i32"
    for name in ("q_batch", "q_token", "k_batch", "k_token")
}


def variants(capability: int) -> Iterator[Variant]:
    """Of Wan's width."""
    heads = WIDTH // HEAD_WIDTH
    for dtype in ("bf16", "fp16"):
        given, _ = pointers(
            q_ptr=dtype,
            k_ptr=dtype,
            weight_q_ptr="fp32",
            weight_k_ptr="fp32",
            turns_ptr="fp32",
            q_out_ptr=dtype,
            k_out_ptr=dtype,
        )
        counts = dict.fromkeys(("tokens", "rows", "columns", "positions"), "i32")
        yield Variant(
            name=f"{OP}-{dtype}",
            kernel=qk_norm_rope_kernel,
            arguments=given | STRIDES | counts | {"eps": "fp32"},
            constants=constants(heads, HEAD_WIDTH) | {"HEADS_BLOCK": triton.next_power_of_2(heads)},
            aligned=tuple(STRIDES),
            tile=tile(OP, capability),
        )
