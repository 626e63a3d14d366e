"""A folder of random weights, as a stand-in for checkpoints that cannot be had here: any size, the real one included.

python -m benchmarks.random_weights DIR --size small|real [--seed N]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from clear_rt.export.prompt import P_TRAIN, write_prompt
from clear_rt.models.config_json import as_json
from clear_rt.models.dit import Dit
from clear_rt.models.dit_config import WAN_FUN_CONTROL, DitConfig
from clear_rt.models.vae import Vae
from clear_rt.models.vae_config import WAN_VAE, VaeConfig

PROMPT_TOKENS = 38
# The size that figures on two cores are measured with: 8 blocks of width 256, what clear-tiny will have.
SMALL_DIT = DitConfig(
    width=256, heads=4, layers=8, ffn_width=1024, text_width=256, text_tokens=64, image_width=64, occlusion=True
)
SMALL_VAE = VaeConfig(base_width=8, res_blocks=1)
# The linears of a block that CLEAR's LoRA changes (reference.md 2).
LORA_LINEARS = (
    *(f"{attention}.{name}" for attention in ("self_attn", "cross_attn") for name in "qkvo"),
    "ffn.0",
    "ffn.2",
)
_SHARD_BYTES = 512 << 20


def write_random_weights(
    folder: Path,
    dit: DitConfig,
    vae: VaeConfig,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    prompt_tokens: int = PROMPT_TOKENS,
) -> None:
    """Transformer in shards, VAE, prompt and config.json; holds one shard at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        models = Dit(dit), Vae(vae)
    shapes, vae_shapes = ({name: t.shape for name, t in model.state_dict().items()} for model in models)
    drawn = ((name, _drawn(name, tuple(shape), generator).to(dtype)) for name, shape in shapes.items())
    for i, shard in enumerate(_shards(drawn)):
        save_file(shard, folder / f"diffusion_pytorch_model-{i:05}.safetensors")
    parts = {name: _drawn(name, tuple(shape), generator) for name, shape in vae_shapes.items()}
    save_file(parts, folder / "vae.safetensors")
    write_prompt(
        folder / "prompt.safetensors", P_TRAIN, torch.randn(prompt_tokens, dit.text_width, generator=generator)
    )
    (folder / "config.json").write_text(json.dumps({"dit": as_json(dit), "vae": as_json(vae)}, indent=2))


def write_random_adapter(path: Path, dit: DitConfig, *, rank: int = 64, seed: int = 1) -> None:
    """A LoRA as CLEAR's: ten linears of every block, in bfloat16; its updates are a tenth of the weights."""
    with torch.device("meta"):
        linears = {name: module for name, module in Dit(dit).named_modules() if name.endswith(LORA_LINEARS)}
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, module in linears.items():
        outputs, inputs = module.weight.shape
        for side, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
            scale = 0.1 if side == "B" else 1.0
            state[f"{name}.lora_{side}.default.weight"] = scale * _drawn("weight", shape, generator).bfloat16()
    save_file(state, path)


def _drawn(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Sizes that keep activations near 1, and nothing at a value that would hide a mistake, such as a bias of 0."""
    noise = torch.randn(shape, generator=generator)
    if name.endswith("occlusion_beta"):
        return noise.abs()
    if name.endswith("gamma") or (name.endswith("weight") and len(shape) == 1):
        return noise.mul(0.1).add(1)
    if name.endswith("bias"):
        return noise.mul(0.02)
    return noise.div((shape[-1] if "modulation" in name else prod(shape[1:])) ** 0.5)


def _shards(tensors: Iterable[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    for name, tensor in tensors:
        shard[name] = tensor
        if sum(t.nbytes for t in shard.values()) >= _SHARD_BYTES:
            yield shard
            shard = {}
    if shard:
        yield shard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=("small", "real"), default="small")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.size == "real":
        write_random_weights(options.folder, WAN_FUN_CONTROL, WAN_VAE, seed=options.seed, dtype=torch.bfloat16)
    else:
        write_random_weights(options.folder, SMALL_DIT, SMALL_VAE, seed=options.seed)


if __name__ == "__main__":
    main()
