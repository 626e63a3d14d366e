"""FP8 linears: the arithmetic to the bit, the scales, what loading, moving and storing leave alone."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")
pytest.importorskip("safetensors", reason="weights are safetensors: pip install '.[export]'")

from safetensors.torch import load_file, save_file  # noqa: E402

from clear_rt.models.fp8 import (  # noqa: E402
    E4M3,
    E4M3_MAX,
    Fp8Linear,
    empty_fp8,
    fp8_names,
    replace_modules,
    scale_of,
    to_e4m3,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def linear(inputs=37, outputs=19, bias=True, seed=0):
    random = torch.Generator().manual_seed(seed)
    made = torch.nn.Linear(inputs, outputs, bias).requires_grad_(False)
    for parameter in made.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=random))
    return made


def relative(found, exact):
    return float((found.double() - exact.double()).norm() / exact.double().norm())


AMAXES = [2.0**-140, 1e-30, 1e-3, 0.4375, 1.0, 3.14159, 448.0, 449.0, 65504.0, 3e38]


@pytest.mark.parametrize("amax", AMAXES)
def test_a_scale_is_a_bfloat16_just_above_amax_over_448(amax):
    scale = scale_of(torch.tensor(amax))
    assert scale.dtype == torch.float32
    assert scale == scale.bfloat16().float()
    exact = max(torch.tensor(amax).double().item() / 448, 2.0**-126)
    # 2**-24 for the division's own rounding to fp32.
    assert exact * (1 - 2**-24) <= float(scale) <= exact * (1 + 2**-7)


def test_scales_that_bfloat16_holds_stay():
    exact = torch.tensor([0.5, 1.0, 3.0, 2.0**-20])
    assert scale_of(exact * 448).tolist() == exact.tolist()


def test_nothing_but_zeros_gives_scale_one():
    assert scale_of(torch.zeros(2)).tolist() == [1, 1]
    empty = torch.nn.Linear(8, 3, bias=False).requires_grad_(False)
    empty.weight.zero_()
    made = Fp8Linear.of(empty, torch.tensor(1.0))
    assert made(torch.randn(2, 8)).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_e4m3_saturates_and_keeps_nan():
    found = to_e4m3(torch.tensor([0.0, 448, 449, 1e9, float("inf"), -float("inf"), float("nan")])).float()
    assert found[:6].tolist() == [0, 448, 448, 448, 448, -448]
    assert found[6].isnan()


def test_the_largest_weight_of_a_row_never_saturates():
    source = linear(64, 50)
    made = Fp8Linear.of(source, torch.tensor(1.0))
    assert (source.weight.abs() / made.weight_scale[:, None]).max() <= E4M3_MAX
    stored = made.weight.float() * made.weight_scale[:, None]
    # Half a unit of the last of 4 bits, or half of the smallest subnormal, 2**-9 x the scale.
    error, half = (stored - source.weight).abs(), made.weight_scale[:, None] * 2.0**-10
    assert (error <= torch.maximum(source.weight.abs() * 2**-4, half) * (1 + 1e-6)).all()


def test_forward_is_the_product_of_what_is_stored():
    made, x = Fp8Linear.of(linear(), torch.tensor(4 / 448)), torch.randn(2, 5, 37)
    exact = (to_e4m3(x / made.input_scale).double() * made.input_scale) @ (
        made.weight.double() * made.weight_scale[:, None]
    ).T + made.bias
    assert relative(made(x), exact) < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_inputs_that_are_in_e4m3_already_answer_the_same(dtype):
    """bfloat16 and float16 hold E4M3 times a bfloat16 scale only rounded, in both cases alike."""
    dtype = getattr(torch, dtype)
    made, x = Fp8Linear.of(linear(), torch.tensor(4 / 448).bfloat16().float()).to(dtype), torch.randn(2, 5, 37)
    found = made(to_e4m3(x.to(dtype).float() / made.input_scale))
    assert found.dtype == dtype
    assert torch.equal(found, made(x.to(dtype)))


def test_inputs_in_e4m3_need_a_bias_to_say_what_is_asked_for():
    made = Fp8Linear.of(linear(bias=False), torch.tensor(1.0))
    with pytest.raises(ValueError, match="expected an FP8 linear with a bias"):
        made(torch.zeros(2, 37).to(E4M3))


def test_inputs_beyond_the_scale_saturate():
    made, x = Fp8Linear.of(linear(), torch.tensor(1 / 448)), torch.randn(3, 37)
    assert torch.equal(made(100 * x.sign()), made(x.sign()))


def test_normal_numbers_lose_what_e4m3_must():
    """Each of two roundings to 4 bits is 2.6 % of a normal number in the mean square; in a product they add up."""
    source, random = linear(256, 128), torch.Generator().manual_seed(1)
    x = torch.randn(64, 256, generator=random)
    made = Fp8Linear.of(source, scale_of(x.abs().max()))
    assert 0.03 < relative(made(x) - made.bias, source(x) - source.bias) < 0.042


@pytest.mark.parametrize(("dtype", "rounding"), [("bfloat16", 2**-9), ("float16", 2**-12), ("float64", 2**-25)])
def test_the_answer_has_the_type_of_the_input(dtype, rounding):
    """Dequantised inputs and weights, the product, the bias and the sum are rounded once each."""
    dtype = getattr(torch, dtype)
    made, x = Fp8Linear.of(linear(), torch.tensor(4 / 448)), torch.randn(2, 37)
    exact = made(x.to(dtype).float())
    made = made.to(dtype)
    found = made(x.to(dtype))
    assert found.dtype == dtype
    assert relative(found, exact) < 5 * rounding


@pytest.mark.parametrize(
    "move", [lambda m: m.bfloat16(), lambda m: m.half(), lambda m: m.float(), lambda m: m.double()]
)
def test_a_change_of_dtype_leaves_weights_and_scales(move):
    made = Fp8Linear.of(linear(), torch.tensor(4 / 448))
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    after = move(made).state_dict()
    assert after["weight"].dtype == E4M3
    assert after["weight_scale"].dtype == after["input_scale"].dtype == torch.float32
    for name in ("weight", "weight_scale", "input_scale"):
        assert torch.equal(after[name].float(), before[name].float())


def test_moving_to_another_device_moves_everything():
    made = Fp8Linear.of(linear(), torch.tensor(1.0)).to("meta")
    assert {tensor.device.type for tensor in made.state_dict().values()} == {"meta"}
    assert made.weight.dtype == E4M3


@pytest.mark.parametrize("bias", [True, False])
def test_stored_as_safetensors_and_loaded_from_the_meta_device(tmp_path, bias):
    source = torch.nn.Sequential(linear(37, 19, bias), torch.nn.GELU(), linear(19, 5))
    replace_modules(source, {"0": Fp8Linear.of(source[0], torch.tensor(4 / 448))})
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    state = load_file(tmp_path / "model.safetensors")
    assert fp8_names(state) == ["0"]
    with torch.device("meta"):
        empty = torch.nn.Sequential(torch.nn.Linear(37, 19, bias), torch.nn.GELU(), torch.nn.Linear(19, 5))
    empty_fp8(empty, fp8_names(state))
    empty.load_state_dict(state, assign=True)
    x = torch.randn(3, 37)
    assert torch.equal(empty(x), source(x))
    assert state["0.weight"].dtype == E4M3
    assert state["0.weight"].nbytes == 37 * 19


def test_weights_of_another_shape_are_not_loaded():
    made = Fp8Linear.of(linear(), torch.tensor(1.0))
    with pytest.raises(RuntimeError, match="size mismatch"):
        Fp8Linear(36, 19).load_state_dict(made.state_dict(), assign=True)
