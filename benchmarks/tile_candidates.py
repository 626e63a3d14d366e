"""What `tune_tiles` tries for every op that has a tile, and the benchmark cases that time it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

from clear_rt.kernels.tiles import Tile


@dataclass(frozen=True, slots=True)
class Space:
    """`cases`: ops of `kernel_run.cases` that run with the tile. `traits`: those of the row in tiles.json."""

    cases: tuple[str, ...]
    blocks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    warps: tuple[int, ...] = (4, 8)
    stages: tuple[int, ...] = (1,)
    traits: Mapping[str, object] = field(default_factory=dict)

    def tiles(self) -> Iterator[Tile]:
        for sizes in product(*self.blocks.values()):
            for warps, stages in product(self.warps, self.stages):
                yield Tile(dict(zip(self.blocks, sizes, strict=True)), warps, stages)


_PIPELINED = (1, 2, 3, 4)
_STRETCHES = (256, 512, 1024, 2048)
_ATTENTION_BLOCKS = {"BLOCK_QUERIES": (64, 128), "BLOCK_KEYS": (32, 64, 128)}

SPACES: Mapping[str, Space] = {
    "norm_modulate": Space(("norm_modulate",), warps=(1, 2, 4, 8)),
    "gate_residual": Space(("gate_residual", "gate_residual_norm"), warps=(1, 2, 4, 8)),
    "rms_norm": Space(("rms_norm",), warps=(1, 2, 4, 8)),
    "gelu": Space(("gelu", "quantized"), {"BLOCK": (1024, 2048, 4096, 8192)}),
    "norm_silu": Space(("norm_silu",), {"ELEMENTS": (1024, 2048, 4096, 8192)}),
    "causal_conv": Space(
        ("causal_conv",),
        {
            "BLOCK_POSITIONS": (128, 256),
            "BLOCK_OUTPUTS": (64, 128),
            "BLOCK_MORE": (0,),
            "BLOCK_CHANNELS": (32, 64),
        },
        stages=_PIPELINED,
        traits={"outputs": 96},
    ),
    "window_step": Space(("window_step",), {"BLOCK": _STRETCHES}),
    "hold_overlap": Space(("hold_overlap", "fade_overlap"), {"BLOCK": _STRETCHES}),
    "qk_norm_rope": Space(("qk_norm_rope",), warps=(1, 2, 4, 8)),
    "qk_norm_rope_fp8": Space(("qk_norm_rope_fp8",), warps=(4, 8, 16)),
    "quantize_values": Space(("quantize_values",), warps=(2, 4, 8)),
    "yuv_to_input": Space(("yuv_to_input",), {"BLOCK": _STRETCHES}, warps=(2, 4, 8)),
    "pull_push": Space(("pull_push",), {"BLOCK": (128, *_STRETCHES)}, warps=(2, 4, 8)),
    "composite": Space(("composite",), {"BLOCK": (128, *_STRETCHES)}, warps=(2, 4, 8)),
    "occlusion_attention": Space(
        ("attention_pointers",), {**_ATTENTION_BLOCKS, "BLOCK_TAIL": (32,)}, stages=_PIPELINED
    ),
    "occlusion_attention_hopper": Space(
        ("attention_descriptors",),
        {**_ATTENTION_BLOCKS, "BLOCK_TAIL": (32,), "WARP_SPECIALIZE": (0, 1)},
        stages=_PIPELINED,
    ),
    "occlusion_attention_fp8": Space(
        ("occlusion_attention_fp8",), _ATTENTION_BLOCKS, stages=_PIPELINED, traits={"width": 128}
    ),
}
