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
    there, and every token passes through them once.
    """

    kinds: tuple[str, ...] = KINDS
    edge_share: float = 3 / 40

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


def block_linears(sizes: DitSizes) -> tuple[str, ...]:
    """Names of all linears of all blocks: those that are calibrated, whatever the policy."""
    return quantized_linears(sizes, Fp8Policy(edge_share=0))
