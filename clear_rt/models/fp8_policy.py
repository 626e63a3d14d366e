"""Which linears of the transformer go to FP8 and which stay: a small declared policy, measured in docs/FP8.md."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from clear_rt.models.dit_config import DitSizes

KINDS = ("self_attn.qkv", "self_attn.o", "cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fp8Policy:
    """`kinds` of linears go to FP8 in all blocks but the first and last `edge_share` of them, rounded up.

    Everything outside the blocks stays: the patch embeddings and the head are 64 wide on one side, so FP8 saves nothing
    there, and every token passes through them once. With `attention` queries, keys and values of self-attention in the
    same blocks go, too.
    """

    kinds: tuple[str, ...] = KINDS
    edge_share: float = 3 / 40
    attention: bool = False

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds or not 0 <= self.edge_share < 0.5:
            raise ValueError(f"expected kinds among {KINDS} and an edge_share of 0 to 0.5, got {self}")

    def edge_blocks(self, layers: int) -> int:
        """Blocks that stay at either end."""
        return ceil(self.edge_share * layers)


def quantized_linears(sizes: DitSizes, policy: Fp8Policy) -> tuple[str, ...]:
    """Names of the linears that go to FP8, block by block; none where all blocks are edges."""
    edge = policy.edge_blocks(sizes.layers)
    return tuple(f"blocks.{i}.{kind}" for i in range(edge, sizes.layers - edge) for kind in policy.kinds)


def rounded_inputs(sizes: DitSizes, policy: Fp8Policy) -> tuple[str, ...]:
    """Names of what queries, keys and values pass through where attention is in FP8; none where it is not."""
    edge = policy.edge_blocks(sizes.layers)
    blocks = range(edge, sizes.layers - edge) if policy.attention else ()
    return tuple(f"blocks.{i}.self_attn.attended.{place}" for i in blocks for place in range(len("qkv")))


def calibrated(sizes: DitSizes) -> tuple[str, ...]:
    """Names of everything whose inputs are looked at, whatever the policy: linears and attention of all blocks."""
    return block_linears(sizes) + rounded_inputs(sizes, Fp8Policy(edge_share=0, attention=True))


def block_linears(sizes: DitSizes) -> tuple[str, ...]:
    """Names of all linears of all blocks."""
    return quantized_linears(sizes, Fp8Policy(edge_share=0))
