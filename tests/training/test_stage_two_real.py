"""The same Stage II on the real base: every name and shape of the adapter, and a step at the real width."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("peft", reason="Stage II needs peft: pip install '.[train]'")

from safetensors.torch import save_file  # noqa: E402

from clear_rt.export.merge import check_adapters  # noqa: E402
from clear_rt.export.prompt import P_TRAIN, write_prompt  # noqa: E402
from clear_rt.models.checkpoint import open_checkpoint  # noqa: E402
from clear_rt.models.config_json import as_json  # noqa: E402
from clear_rt.models.dit import Dit  # noqa: E402
from clear_rt.models.dit_config import WAN_FUN_CONTROL  # noqa: E402
from clear_rt.models.dit_names import dit_shapes  # noqa: E402
from clear_rt.models.vae_config import WAN_VAE  # noqa: E402
from training.adapter import adapt, is_learned, parameters_of  # noqa: E402
from training.flow import batches  # noqa: E402
from training.stage_two import PRESETS, data_of, trainer_on  # noqa: E402

REAL = PRESETS["real"]
WITH_HEAD = replace(WAN_FUN_CONTROL, occlusion=True)


def test_the_real_adapter_has_the_names_shapes_and_sizes_of_clears():
    """reference.md 2 and 7: 600 tensors, 87,490,560 parameters; a head of 884,865; 12 betas in each of 14 blocks."""
    with torch.device("meta"):
        dit = Dit(WITH_HEAD)
    adapt(dit, REAL.rank)
    assert all(parameter.is_meta for parameter in dit.parameters())
    lora = {name: tuple(p.shape) for name, p in dit.named_parameters() if ".lora_" in name}
    assert lora == _expected_lora(WAN_FUN_CONTROL, REAL.rank)
    sizes = {name: p.numel() for name, p in dit.named_parameters() if p.requires_grad and name not in lora}
    assert len(lora) == 600
    assert sum(dit.get_parameter(name).numel() for name in lora) == 87_490_560
    assert sum(n for name, n in sizes.items() if name.startswith("occlusion_head.")) == 884_865
    assert [name for name in sizes if name.endswith("beta")] == [
        f"blocks.{i}.self_attn.occlusion_beta" for i in range(16, 30)
    ]
    learning, every = parameters_of(dit)
    assert every - learning == 1_564_602_176
    assert {n: tuple(p.shape) for n, p in _without_adapter(dit).items()} == dit_shapes(WITH_HEAD)
    assert all(p.dtype == torch.float32 for n, p in dit.named_parameters() if is_learned(n))


def test_a_step_at_the_real_width_changes_the_adapter_alone(tmp_path):
    """The real preset through the command's own code: folder, shards, checkpoint, adapter; two blocks of thirty."""
    sizes = replace(WAN_FUN_CONTROL, layers=2)
    base, data = _folder(tmp_path / "base", sizes), _shards(tmp_path / "data")
    config = replace(REAL, accumulate=1)
    trainer = trainer_on(base, tmp_path / "run", config)
    before = open_checkpoint(base / "diffusion_pytorch_model.safetensors")
    (share,) = batches(data_of(data, config), config, range(1))
    trainer.advance(*share)
    assert trainer.step == 1
    for name, parameter in trainer.model.named_parameters():
        if parameter.requires_grad:
            assert torch.isfinite(parameter.grad).all(), name
        else:
            assert torch.equal(parameter, before[name.replace(".base_layer", "")].to(parameter.dtype)), name
    moved = [n for n, p in trainer.model.named_parameters() if ".lora_B" in n and p.abs().max() > 0]
    # B begins at 0 and A gets a gradient only once B has left it; one step moves all 10 linears of every block.
    assert len(moved) == 10 * sizes.layers
    assert trainer.model.get_parameter("occlusion_head.conv2.weight").abs().max() > 0
    name, left = trainer.learned()
    save_file({n: t.contiguous() for n, t in left.items()}, tmp_path / name)
    (found,) = check_adapters(replace(sizes, occlusion=True), [open_checkpoint(tmp_path / name)])
    assert (found.linears, found.rank, found.occlusion) == (20, 64, True)
    # Adapter, average and two moments of it, in fp32: no base in the checkpoint.
    trainer.save()
    learning, _ = parameters_of(trainer.model)
    assert (tmp_path / "run" / "checkpoint.pt").stat().st_size < 4 * 4 * learning + 1_000_000


def _expected_lora(sizes, rank):
    """Written out by hand, reference.md 2."""
    width, ffn, found = sizes.width, sizes.ffn_width, {}
    for i in range(sizes.layers):
        linears = {f"{kind}.{side}": (width, width) for kind in ("self_attn", "cross_attn") for side in "qkvo"}
        linears |= {"ffn.0": (width, ffn), "ffn.2": (ffn, width)}
        for name, (columns, rows) in linears.items():
            found[f"blocks.{i}.{name}.lora_A.default.weight"] = (rank, columns)
            found[f"blocks.{i}.{name}.lora_B.default.weight"] = (rows, rank)
    return found


def _without_adapter(dit):
    return {n.replace(".base_layer", ""): p for n, p in dit.named_parameters() if ".lora_" not in n}


def _folder(folder, sizes):
    """A Wan folder of random weights in bf16; its VAE is only looked for."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in dit_shapes(sizes).items():
        start = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        # One drawn vector, repeated with its sign turned by the row: 140 M numbers drawn anew take seconds.
        row = torch.randn(shape[-1], generator=generator) * 0.02
        signs = torch.randn(shape[:-1], generator=generator).sign()
        state[name] = (start + signs[..., None] * row).bfloat16().contiguous()
    save_file(state, folder / "diffusion_pytorch_model.safetensors")
    save_file({"x": torch.zeros(1)}, folder / "vae.safetensors")
    write_prompt(folder / "prompt.safetensors", P_TRAIN, torch.randn(5, sizes.text_width, generator=generator))
    (folder / "config.json").write_text(json.dumps({"dit": as_json(sizes), "vae": as_json(WAN_VAE)}))
    return folder


def _shards(folder):
    """Six shards of one window of 2 latents and 4 x 6 tokens."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        clean = rng.normal(size=(1, 16, 2, 8, 12)).astype(np.float16)
        control, maps = clean.copy(), np.zeros((1, 2, 4, 6), np.uint8)
        control[..., 4:6, :] += 2
        maps[..., 2, :] = 255
        for name, array in (("clean", clean), ("control", control), ("maps", maps)):
            np.save(folder / f"{name}-{number:03d}.npy", array)
    return folder
