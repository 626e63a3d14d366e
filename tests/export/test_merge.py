"""Adapters merged into the weights: the same as peft runs them beside the weights, and nothing half merged."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the definition is written in torch: pip install '.[train]'")
safetensors = pytest.importorskip("safetensors.torch", reason="weights are safetensors: pip install '.[cuda]'")

from clear_rt.errors import ConfigError, WeightsError  # noqa: E402
from clear_rt.export.merge import Merged, has_occlusion, merge_adapter  # noqa: E402
from clear_rt.models.checkpoint import open_checkpoint  # noqa: E402
from clear_rt.models.dit import Dit  # noqa: E402
from clear_rt.models.dit_config import WAN_FUN_CONTROL, DitConfig  # noqa: E402
from clear_rt.models.dit_names import is_occlusion  # noqa: E402

CONFIG = DitConfig(width=24, heads=2, layers=3, ffn_width=40, text_width=12, freq_width=8, image_width=10)
PLACES = [f"{a}.{x}" for a in ("self_attn", "cross_attn") for x in "qkvo"] + ["ffn.0", "ffn.2"]
RANK = 8


def model(config=CONFIG, dtype=torch.float32):
    torch.manual_seed(0)
    made = Dit(config).eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter.normal_(0, 0.2)
    return made.to(dtype)


def adapter(dit, rank=RANK, seed=1, default=".default"):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for i in range(dit.config.layers):
        for place in PLACES:
            out, into = dit.get_submodule(f"blocks.{i}.{place}").weight.shape
            state[f"blocks.{i}.{place}.lora_A{default}.weight"] = torch.randn(rank, into, generator=generator) / 9
            state[f"blocks.{i}.{place}.lora_B{default}.weight"] = torch.randn(out, rank, generator=generator) / 9
    return state


def saved(tmp_path, state, name="adapter.pt"):
    path = tmp_path / name
    if path.suffix == ".pt":
        torch.save({"model_state_dict": state, "temporal_loss_weight": 0.1}, path)
    else:
        safetensors.save_file(state, path)
    return open_checkpoint(path)


def run(dit):
    generator = torch.Generator().manual_seed(2)
    latents, control = torch.randn(2, 1, 16, 2, 4, 6, generator=generator)
    text = torch.randn(1, 9, 12, generator=generator)
    return dit(latents, control, torch.tensor([952.38]), text).velocity


@pytest.mark.parametrize("scale", [1.0, 0.5, -1.5])
def test_merged_weights_do_what_peft_does_beside_them(tmp_path, scale):
    """peft as CLEAR calls it: rank 8, alpha = scale * rank, the suffixes of the names of the linears as targets."""
    peft = pytest.importorskip("peft", reason="what the adapters were trained with: pip install '.[export]'")
    plain = model()
    state = adapter(plain)
    targets = ["q", "k", "v", "o", "ffn.0", "ffn.2"]
    beside = copy.deepcopy(plain)
    config = peft.LoraConfig(r=RANK, lora_alpha=scale * RANK, lora_dropout=0.0, bias="none", target_modules=targets)
    beside = peft.inject_adapter_in_model(config, beside)
    left = beside.load_state_dict(state, strict=False)
    assert not left.unexpected_keys
    assert not [name for name in left.missing_keys if "lora" in name]
    merged = model()
    assert merge_adapter(merged, saved(tmp_path, state), scale) == Merged(linears=30, rank=8, occlusion=False)
    found, expected, before = run(merged), run(beside.eval()), run(plain)
    assert ((found - expected).square().mean() / expected.square().mean()).sqrt() < 1e-6
    assert ((before - expected).square().mean() / expected.square().mean()).sqrt() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_weights_move_by_scale_times_b_a_and_the_rest_stays(tmp_path, dtype):
    """In float32 and rounded once, whatever the types of the model and of the file are."""
    plain, merged = model(dtype=dtype), model(dtype=dtype)
    state = {name: tensor.bfloat16() for name, tensor in adapter(plain).items()}
    merge_adapter(merged, saved(tmp_path, state), 0.7)
    for name, tensor in merged.state_dict().items():
        before, lora = plain.state_dict()[name], name.removesuffix("weight") + "lora_{}.default.weight"
        if lora.format("A") in state:
            update = state[lora.format("B")].double() @ state[lora.format("A")].double()
            expected = before.double() + 0.7 * update
            bound = 2**-8 if dtype == torch.bfloat16 else 2**-21
            torch.testing.assert_close(tensor.double(), expected, rtol=bound, atol=1e-7)
            assert tensor.dtype == dtype
            assert not torch.equal(tensor, before)
        else:
            assert torch.equal(tensor, before)


def test_all_layouts_of_an_adapter_are_one(tmp_path):
    state = adapter(model())
    short = adapter(model(), default="")
    wrapped = {f"pipe.dit.module.{name}": tensor for name, tensor in state.items()}
    torch.save({"dit_state_dict": state}, tmp_path / "dit.pt")
    torch.save(state, tmp_path / "bare.pt")
    layouts = [
        saved(tmp_path, state), saved(tmp_path, state, "a.safetensors"), saved(tmp_path, short, "short.pt"),
        saved(tmp_path, wrapped, "wrapped.pt"),
        *(open_checkpoint(tmp_path / name) for name in ("dit.pt", "bare.pt")),
        saved(tmp_path, state | {"temporal_loss_weight": torch.tensor(0.1)}, "b.safetensors"),
    ]  # fmt: skip
    results = []
    for checkpoint in layouts:
        merged = model()
        merge_adapter(merged, checkpoint)
        results.append(run(merged))
    assert all(torch.equal(result, results[0]) for result in results)


def test_an_adapter_may_leave_kinds_of_linears_out(tmp_path):
    merged = model()
    state = {name: tensor for name, tensor in adapter(merged).items() if ".self_attn.q." in name}
    assert merge_adapter(merged, saved(tmp_path, state)).linears == 3


Q = "blocks.1.self_attn.q.lora_{}.default.weight"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"blocks.0.self_attn.q.lora_A.other.weight": torch.zeros(8, 24)}, "lora_A.other"),
        ({"blocks.0.self_attn.q.alpha": torch.tensor(8.0)}, "self_attn.q.alpha"),
        ({"head.head.lora_A.default.weight": torch.zeros(8, 24)}, "head.head.lora_A"),
        ({Q.format("B"): None}, "only one for blocks.1.self_attn.q"),
        ({Q.format("A"): None, Q.format("B"): None}, "nothing for blocks.1.self_attn.q"),
        ({Q.format("A"): torch.zeros(4, 24), Q.format("B"): torch.zeros(24, 4)}, "[4, 24] instead of [8, 24]"),
        ({Q.format("A"): torch.zeros(8, 40)}, "[8, 40] instead of [8, 24]"),
        ({Q.format("A"): torch.zeros(24)}, "of [24] instead of"),
        ({Q.format("A").replace(".default", ""): torch.zeros(8, 24)}, "two names"),
        (
            {f"blocks.3.ffn.0.lora_{x}.default.weight": torch.zeros(8, 8) for x in "AB"},
            "blocks.3.ffn.0, which it lacks",
        ),
        (
            {f"blocks.0.norm3.lora_{x}.default.weight": torch.zeros(8, 8) for x in "AB"},
            "blocks.0.norm3, which it lacks",
        ),
        ({"occlusion_head.conv1.bias": torch.zeros(64)}, "occlusion_head.conv1.bias"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_changes(tmp_path, change, named):
    plain, merged = model(), model()
    state = {name: tensor for name, tensor in (adapter(plain) | change).items() if tensor is not None}
    with pytest.raises(WeightsError) as caught:
        merge_adapter(merged, saved(tmp_path, state))
    assert named in str(caught.value)
    assert "adapter.pt" in str(caught.value)
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in merged.state_dict().items())


def test_weights_of_a_whole_model_are_no_adapter(tmp_path):
    with pytest.raises(WeightsError, match="LoRA"):
        merge_adapter(model(), saved(tmp_path, model().state_dict()))


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_must_be_a_number(tmp_path, scale):
    with pytest.raises(ConfigError, match="lora_scale"):
        merge_adapter(model(), saved(tmp_path, adapter(model())), scale)


def test_an_adapter_brings_its_occlusion_head(tmp_path):
    config = replace(CONFIG, occlusion=True)
    merged = model(config)
    torch.manual_seed(5)
    head = {name: torch.randn_like(t) for name, t in merged.state_dict().items() if is_occlusion(name)}
    assert sum(name.endswith("occlusion_beta") for name in head) == 1
    checkpoint, without = saved(tmp_path, adapter(merged) | head), saved(tmp_path, adapter(merged), "without.pt")
    assert has_occlusion(checkpoint)
    assert not has_occlusion(without)
    assert merge_adapter(merged, checkpoint) == Merged(linears=30, rank=8, occlusion=True)
    assert all(torch.equal(merged.state_dict()[name], tensor) for name, tensor in head.items())
    kept = model(config)
    assert not merge_adapter(kept, without).occlusion
    assert all(torch.equal(kept.state_dict()[n], model(config).state_dict()[n]) for n in head)
    del head["occlusion_head.conv2.bias"]
    with pytest.raises(WeightsError, match="1 missing"):
        merge_adapter(model(config), saved(tmp_path, adapter(merged) | head))
    with pytest.raises(WeightsError, match="without one"):
        merge_adapter(model(), checkpoint)


def test_the_real_adapter_has_300_linears(tmp_path):
    """Rank 64 on the real sizes, without their values: 600 tensors, 87,490,560 parameters (reference.md 2)."""
    with torch.device("meta"):
        dit = Dit(WAN_FUN_CONTROL).requires_grad_(False)
    state = {name: torch.zeros(1).expand(tensor.shape) for name, tensor in adapter(dit, 64).items()}
    assert len(state) == 600
    assert sum(tensor.numel() for tensor in state.values()) == 87_490_560
    assert merge_adapter(dit, saved(tmp_path, state)) == Merged(linears=300, rank=64, occlusion=False)
