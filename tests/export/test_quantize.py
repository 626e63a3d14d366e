"""Calibration and quantisation of the baked transformer: modelopt's numbers, our linears, and what must stay."""

from __future__ import annotations

import copy
import sys

import pytest

torch = pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")
pytest.importorskip("modelopt", reason="calibration is modelopt's: pip install '.[export]'")

from clear_rt.errors import ConfigError, WeightsError  # noqa: E402
from clear_rt.export.quantize import calibrate, in_fp8, modelopt_config, quantize, sharing  # noqa: E402
from clear_rt.export.scales import Scales  # noqa: E402
from clear_rt.models.baked import BakedConfig, BakedDit  # noqa: E402
from clear_rt.models.fp8 import E4M3, E4M3_MAX, Fp8Linear, empty_fp8, fp8_names  # noqa: E402
from clear_rt.models.fp8_policy import Fp8Policy, block_linears, calibrated, quantized_linears, rounded_inputs  # noqa: E402

CONFIG = BakedConfig(width=64, heads=2, layers=4, ffn_width=96, occlusion=True, text_keys=5, timesteps=4)


@pytest.fixture(scope="module")
def dit(randomise):
    made = randomise(BakedDit(CONFIG)).requires_grad_(False).eval()
    return made.place_turns(made.time)


@pytest.fixture(scope="module")
def given(dit):
    random = torch.Generator().manual_seed(1)
    latents, control = torch.randn(2, 1, CONFIG.latent_channels, 3, 6, 10, generator=random).unbind()
    return [(level * latents, dit.control(control), torch.tensor(row)) for row, level in enumerate((1.0, 0.5, 2.0))]


@pytest.fixture(scope="module")
def scales(dit, given):
    return calibrate(dit, lambda model: [model(*window) for window in given])


def relative(found, exact):
    return float((found.double() - exact.double()).norm() / exact.double().norm())


def test_amax_is_the_largest_input_of_every_linear(dit, given, scales):
    seen = dict.fromkeys(calibrated(CONFIG), 0.0)
    model = sharing(dit)

    def watch(name):
        def hook(module, inputs):
            seen[name] = max(seen[name], float(inputs[0].abs().max()))

        return hook

    for name in seen:
        model.get_submodule(name).register_forward_pre_hook(watch(name))
    for window in given:
        model(*window)
    assert dict(scales.input_amax) == seen


def test_the_model_answers_exactly_while_it_is_calibrated(dit, given):
    found = []
    calibrate(dit, lambda model: found.extend(model(*window) for window in given))
    for answer, window in zip(found, given, strict=True):
        assert torch.equal(answer, dit(*window))


def test_the_model_is_not_touched(dit, given, scales):
    before = copy.deepcopy(dit.state_dict())
    quantize(dit, calibrate(dit, lambda model: [model(*window) for window in given]))
    assert {type(m) for m in dit.modules()} == {type(m) for m in BakedDit(CONFIG).modules()}
    assert all(torch.equal(before[name], tensor) for name, tensor in dit.state_dict().items())


def test_scales_are_amax_over_448_rounded_up_to_bfloat16(dit, scales):
    made = quantize(dit, scales)
    for name in quantized_linears(CONFIG, Fp8Policy()):
        linear = made.get_submodule(name)
        assert isinstance(linear, Fp8Linear)
        rows = dit.get_submodule(name).weight.abs().amax(1)
        for scale, amax in ((linear.input_scale, torch.tensor(scales.input_amax[name])), (linear.weight_scale, rows)):
            assert torch.equal(scale, scale.bfloat16().float())
            assert (scale * E4M3_MAX >= amax).all()
            assert (scale * E4M3_MAX <= amax * (1 + 2**-7)).all()


def test_it_is_modelopts_fake_quantisation_with_our_scales(dit, given, scales):
    """With the same scales only ties may fall the other way, as modelopt multiplies by 448 / amax and we divide.

    One value in 2**20 would do that by a sixteenth: 6e-5; with modelopt's own scales, up to 2**-7 finer, roundings
    differ but are no larger.
    """
    import modelopt.torch.quantization as mtq

    model = mtq.quantize(sharing(dit), modelopt_config(dit), lambda model: [model(*window) for window in given])
    ours = in_fp8(dit, scales, block_linears(CONFIG))
    own = [relative(model(*window), dit(*window)) for window in given]
    for name in block_linears(CONFIG):
        theirs, linear = model.get_submodule(name), ours.get_submodule(name)
        assert theirs.input_quantizer.amax == scales.input_amax[name]
        theirs.input_quantizer.amax = linear.input_scale * E4M3_MAX
        theirs.weight_quantizer.amax = linear.weight_scale[:, None] * E4M3_MAX
    for window, error in zip(given, own, strict=True):
        assert relative(ours(*window), model(*window)) < 1e-3
        assert 0.8 * error < relative(ours(*window), dit(*window)) < 1.25 * error


def test_only_the_policys_linears_change_and_the_rest_is_shared(dit, scales):
    made, names = quantize(dit, scales), quantized_linears(CONFIG, Fp8Policy())
    assert {name for name, module in made.named_modules() if isinstance(module, Fp8Linear)} == set(names)
    for name, tensor in made.state_dict().items():
        if name.rpartition(".")[0] not in names:
            assert tensor.data_ptr() == dit.state_dict()[name].data_ptr()
    assert all(made.get_submodule(name).bias.data_ptr() == dit.get_submodule(name).bias.data_ptr() for name in names)


def test_it_is_loaded_into_a_model_from_the_meta_device(dit, given, scales):
    made = quantize(dit, scales)
    with torch.device("meta"):
        empty = BakedDit(CONFIG)
    empty_fp8(empty, fp8_names(made.state_dict()))
    empty.load_state_dict(made.state_dict(), assign=True)
    empty.place_turns(empty.time).requires_grad_(False).eval()
    assert torch.equal(empty(*given[0]), made(*given[0]))
    assert empty.blocks[1].ffn[0].weight.dtype == E4M3


def test_scales_of_another_model_are_refused(dit, scales):
    with pytest.raises(ConfigError, match=r"found 0 of them and none of blocks\.1\.self_attn\.qkv"):
        quantize(dit, Scales({"transformer.ffn": 1.0}))
    fewer = {name: amax for name, amax in scales.input_amax.items() if "blocks.2" not in name}
    with pytest.raises(ConfigError, match=r"none of blocks\.2\.self_attn\.qkv"):
        quantize(dit, Scales(fewer))


def test_a_model_of_edges_alone_is_refused(dit, scales):
    with pytest.raises(ConfigError, match="use --precision bf16"):
        quantize(dit, scales, Fp8Policy(edge_share=0.49))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(dit, scales, value):
    broken = copy.deepcopy(dit)
    broken.blocks[1].ffn[0].weight[3, 4] = value
    for use in (lambda: quantize(broken, scales), lambda: calibrate(broken, lambda model: None)):
        with pytest.raises(WeightsError, match=r"found NaN or infinity in blocks\.1\.ffn\.0\.weight"):
            use()


def test_nothing_to_calibrate_on_is_refused(dit):
    with pytest.raises(ConfigError, match="expected windows to calibrate on"):
        calibrate(dit, lambda model: None)


@pytest.mark.parametrize("level", [float("nan"), float("inf")])
def test_inputs_that_are_no_numbers_are_refused(dit, given, level):
    latents, control, row = given[0]
    with pytest.raises(ConfigError, match="expected finite inputs of all linears"):
        calibrate(dit, lambda model: model(level * latents, control, row))


def test_inputs_of_nothing_but_zeros_are_refused(dit, given):
    silent = sharing(dit)
    silent.blocks[1].ffn[0].weight = torch.nn.Parameter(0 * dit.blocks[1].ffn[0].weight, requires_grad=False)
    silent.blocks[1].ffn[0].bias = torch.nn.Parameter(0 * dit.blocks[1].ffn[0].bias, requires_grad=False)
    with pytest.raises(ConfigError, match=r"expected a positive finite largest input of blocks\.1\.ffn\.2, found 0\.0"):
        calibrate(silent, lambda model: model(*given[0]))


def test_nothing_but_what_is_run_is_printed(dit, given, capfd):
    def run(model):
        print("window 1")
        print("to the terminal", file=sys.stderr)
        model(*given[0])

    calibrate(dit, run)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("window 1\n", "to the terminal\n")


def test_without_modelopt_it_says_what_to_install(dit, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "modelopt"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "modelopt", None)
    with pytest.raises(ConfigError, match=r"pip install 'clear-rt\[export\]'"):
        calibrate(dit, lambda model: None)


def test_attention_in_fp8_rounds_queries_keys_and_values_of_inner_blocks(dit, given, scales):
    policy = Fp8Policy(edge_share=0.25, attention=True)
    made = quantize(dit, scales, policy)
    names = rounded_inputs(CONFIG, policy)
    assert names == tuple(f"blocks.{i}.self_attn.attended.{place}" for i in (1, 2) for place in range(3))
    for name in names:
        rounded = made.get_submodule(name)
        x = torch.linspace(-1.0, 1.0, 99) * scales.input_amax[name]
        step = rounded.scale * torch.exp2((x / rounded.scale).abs().clamp(min=2.0**-6).log2().floor() - 3)
        assert ((rounded(x) - x).abs() <= step / 2).all()
    plain = quantize(dit, scales, Fp8Policy(edge_share=0.25))
    for window in given:
        assert 1e-4 < relative(made(*window), plain(*window)) < 0.1


def test_a_model_with_attention_in_fp8_is_loaded_as_it_was_stored(dit, given, scales):
    made = quantize(dit, scales, Fp8Policy(edge_share=0.25, attention=True))
    with torch.device("meta"):
        loaded = BakedDit(CONFIG)
    empty_fp8(loaded, fp8_names(made.state_dict()))
    loaded.load_state_dict(made.state_dict(), assign=True)
    loaded.place_turns(loaded.time).requires_grad_(False).eval()
    assert torch.equal(loaded(*given[0]), made(*given[0]))
    assert loaded.to(torch.bfloat16).blocks[1].self_attn.attended[0].scale.dtype == torch.float32
