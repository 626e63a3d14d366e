"""Compiles the kernels that the slim runtime launches, in a process of its own: `cubins` is its only caller.

    python -m clear_rt.export.cubin_builder FOLDER CHIPS HALF HEAD_WIDTH

CHIPS are capabilities with commas, as 80,90; HALF is bf16 or fp16.
"""

from __future__ import annotations

import sys
from pathlib import Path

from clear_rt.kernels import aot

# What clear_rt.runtime.slim launches.
OPS = (
    "window_step",
    "hold_overlap",
    "fade_overlap",
    "yuv_to_input",
    "composite",
    "pull_push",
    "occlusion_attention",
    "occlusion_attention_hopper",
)
_HALVES = {"bf16", "fp16"}


def is_wanted(name: str, half: str, head_width: int) -> bool:
    """Whether a variant is one of `OPS` in this half or in none, attention for this width of heads."""
    op, *traits = name.split("-")
    widths = [trait for trait in traits if trait[:1] == "d" and trait[1:].isdigit()]
    return op in OPS and widths in ([], [f"d{head_width}"]) and not {*traits} & (_HALVES - {half})


def main() -> str | None:
    """Writes cubins and launches; returns what no GPU would forgive."""
    folder, chips, half, head_width = sys.argv[1:]
    found = aot.everything(
        [int(chip) for chip in chips.split(",")], wanted=lambda name: is_wanted(name, half, int(head_width))
    )
    aot.write_cubins(Path(folder), found)
    return "; ".join(aot.faults(found)) or None


if __name__ == "__main__":
    sys.exit(main())
