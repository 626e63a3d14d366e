"""Adapters merged into the weights: the same as peft runs them beside the weights, and nothing half merged."""

from __future__ import annotations

import copy
import os
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the definition is written in torch: pip install '.[train]'")
safetensors = pytest.importorskip("safetensors.torch", reason="weights are safetensors: pip install '.[cuda]'")

from clear_rt.errors import ConfigError, WeightsError  # noqa: E402
from clear_rt.export.merge import Merged, check_adapters, has_occlusion, merge_adapters  # noqa: E402
from clear_rt.models.checkpoint import open_checkpoint  # noqa: E402
from clear_rt.models.dit import Dit  # noqa: E402
from clear_rt.models.dit_config import WAN_FUN_CONTROL, DitConfig  # noqa: E402
from clear_rt.models.dit_names import is_occlusion  # noqa: E402

CONFIG = DitConfig(width=24, heads=2, layers=3, ffn_width=40, text_width=12, freq_width=8, image_width=10)
PLACES = [f"{a}.{x}" for a in ("self_attn", "cross_attn") for x in "qkvo"] + ["ffn.0", "ffn.2"]
RANK = 8


def merge_adapter(dit, checkpoint, lora_scale=1.0):
    """One alone."""
    return merge_adapters(dit, [(checkpoint, lora_scale)])[0]


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


def merged_by_peft(plain, adapters):
    """peft's own injection of every (state, rank, scale) under a name of its own, and its own merge of them all."""
    peft = pytest.importorskip("peft", reason="what the adapters were trained with: pip install '.[export]'")
    model, names = copy.deepcopy(plain), [f"a{i}" for i in range(len(adapters))]
    for name, (state, rank, scale) in zip(names, adapters, strict=True):
        config = peft.LoraConfig(r=rank, lora_alpha=scale * rank, target_modules=["q", "k", "v", "o", "ffn.0", "ffn.2"])
        model = peft.inject_adapter_in_model(config, model, adapter_name=name)
        named = {key.replace(".default.", f".{name}."): tensor for key, tensor in state.items()}
        assert not model.load_state_dict(named, strict=False).unexpected_keys
    layers = [module for module in model.modules() if isinstance(module, peft.tuners.lora.LoraLayer)]
    for layer in layers:
        layer.merge(adapter_names=names)
    return model, len(layers)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
@pytest.mark.parametrize("count", [1, 2, 3])
def test_adapters_in_a_row_are_what_peft_merges_into_all_30_blocks(tmp_path, count):
    """600 tensors over 300 linears each. fp32 sums of up to rank + count products differ by their rounding alone."""
    plain, merged = model(replace(CONFIG, layers=30)), model(replace(CONFIG, layers=30))
    kinds = [(RANK, 1.0), (4, -0.6), (12, 0.3)][:count]
    states = [adapter(plain, rank, seed) for seed, (rank, _) in enumerate(kinds, 1)]
    assert {len(state) for state in states} == {600}
    files = [saved(tmp_path, state, f"{i}{('.pt', '.safetensors')[i % 2]}") for i, state in enumerate(states)]
    said = merge_adapters(merged, [(file, scale) for file, (_, scale) in zip(files, kinds, strict=True)])
    assert said == tuple(Merged(linears=300, rank=rank, occlusion=False) for rank, _ in kinds)
    assert check_adapters(plain.config, files) == said
    theirs, layers = merged_by_peft(plain, [(s, *kind) for s, kind in zip(states, kinds, strict=True)])
    assert layers == 300
    parameters, before = dict(theirs.named_parameters()), dict(plain.named_parameters())
    for name, tensor in merged.named_parameters():
        linear = name.removesuffix("weight")
        if f"{linear}base_layer.weight" not in parameters:
            expected = parameters.get(name, parameters.get(f"{name.removesuffix('bias')}base_layer.bias"))
            assert torch.equal(tensor, expected)
            continue
        terms = before[name].abs()
        for state, (_, scale) in zip(states, kinds, strict=True):
            down, up = (state[f"{linear}lora_{side}.default.weight"] for side in "AB")
            terms = terms + abs(scale) * (up.abs() @ down.abs())
        bound = 2 * (12 + 2 * count) * 2**-24 * terms
        assert ((tensor - parameters[f"{linear}base_layer.weight"]).abs() <= bound).all(), name
        assert not torch.equal(tensor, before[name])


def test_adapters_are_summed_before_they_are_rounded(tmp_path):
    """Two updates of 0.3 of a step of bfloat16: one at a time both vanish, together they move the weight."""
    merged = model(dtype=torch.bfloat16)
    weight = merged.get_parameter("blocks.0.self_attn.q.weight")
    for i in range(3):
        merged.get_parameter(f"blocks.{i}.self_attn.q.weight").fill_(1.0)
    state = {n: torch.zeros_like(t) for n, t in adapter(merged, 1).items() if ".self_attn.q." in n}
    for name, tensor in state.items():
        tensor.fill_(1.0 if "lora_A" in name else 0.3 * 2**-7)
    file = saved(tmp_path, state)
    merge_adapter(merged, file)
    assert (weight == 1).all()
    merge_adapters(merged, [(file, 1.0), (file, 1.0)])
    assert (weight == 1 + 2**-7).all()


def test_a_fault_in_a_later_adapter_leaves_everything_as_it_was(tmp_path):
    plain, merged = model(), model()
    good, bad = adapter(plain), adapter(plain, seed=2)
    bad[Q.format("A")] = torch.zeros(4, 24)
    files = [saved(tmp_path, good, "good.pt"), saved(tmp_path, bad, "bad.pt")]
    with pytest.raises(WeightsError, match=r"bad\.pt.*blocks\.1\.self_attn\.q"):
        merge_adapters(merged, [(files[0], 1.0), (files[1], 1.0)])
    with pytest.raises(ConfigError, match="lora_scale"):
        merge_adapters(merged, [(files[0], 1.0), (files[0], float("nan"))])
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in merged.state_dict().items())


class _Marks:
    """What a pickle runs as it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("place", ["beside", "inside"])
def test_an_adapter_with_code_in_it_is_refused_and_not_run(tmp_path, place):
    """Every tensor of a good adapter, and one object that makes a folder where it is unpickled."""
    marker, path, state = tmp_path / "ran", tmp_path / "clear.pt", adapter(model())
    evil = {"extra": _Marks(marker)}
    torch.save({"model_state_dict": state} | evil if place == "beside" else {"model_state_dict": state | evil}, path)
    with pytest.raises(WeightsError, match=r"clear\.pt.*without code"):
        merge_adapter(model(), open_checkpoint(path))
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()


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
    compiled = {f"_orig_mod.{name.replace('_attn.', '_attn._orig_mod.')}": t for name, t in state.items()}
    inside = {f"module.{name.replace('.', '.module.', 1)}": tensor for name, tensor in state.items()}
    torch.save({"dit_state_dict": state}, tmp_path / "dit.pt")
    torch.save(state, tmp_path / "bare.pt")
    layouts = [
        saved(tmp_path, state), saved(tmp_path, state, "a.safetensors"), saved(tmp_path, short, "short.pt"),
        saved(tmp_path, wrapped, "wrapped.pt"), saved(tmp_path, compiled, "compiled.safetensors"),
        saved(tmp_path, inside, "inside.pt"),
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
    wrapped = {name.replace("blocks.", "blocks.module.", 1): t for name, t in (adapter(merged) | head).items()}
    assert merge_adapter(model(config), saved(tmp_path, wrapped, "wrapped.pt")).occlusion
    with pytest.raises(WeightsError, match="in one adapter at most"):
        merge_adapters(model(config), [(checkpoint, 1.0), (without, 1.0), (checkpoint, 1.0)])
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
