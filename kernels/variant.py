"""A compilation of a kernel: what `aot` compiles for every chip, and what bundles carry as cubins.

The module of a kernel has `variants(capability)`, which yields its own for one chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clear_rt.kernels.tiles import Tile

# Of Wan 1.3B, which the compiled kernels are for: channels of a token.
WIDTH = 1536
HEAD_WIDTH = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """`arguments`: Triton's type of every argument that is left at run time, such as "*bf16" or "i32", in order.

    `constants`: every other one; None for a pointer that is not given. `aligned`: those arguments whose value is a
    multiple of 16, as that of a pointer is unless it is `unaligned`; without it loads are narrow. `fp_fusion`: whether
    products are fused with sums; a kernel launched with enable_fp_fusion=False says False.
    """

    name: str
    kernel: Any
    arguments: Mapping[str, str]
    constants: Mapping[str, object]
    aligned: tuple[str, ...] = ()
    unaligned: tuple[str, ...] = ()
    tile: Tile
    fp_fusion: bool = True


def pointers(**kinds: str | None) -> tuple[dict[str, str], dict[str, object]]:
    """Arguments and constants of pointers: by name the type of what they point to, None for one that is not given."""
    given = {name: f"*{kind}" for name, kind in kinds.items() if kind is not None}
    return given, {name: None for name, kind in kinds.items() if kind is None}
