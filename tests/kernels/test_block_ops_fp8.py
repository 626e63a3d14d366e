"""Kernels in the place of what stands between the linears, those in FP8 included: against the operations of torch."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.errors import EngineError  # noqa: E402
from clear_rt.kernels import chips  # noqa: E402
from clear_rt.kernels.block_ops import TritonOps, attention, use_kernels  # noqa: E402
from clear_rt.kernels.scaled_product import ScaledProduct  # noqa: E402
from clear_rt.models.attention import attention_ref  # noqa: E402
from clear_rt.models.baked import BakedConfig, BakedDit  # noqa: E402
from clear_rt.models.block_ops import TorchOps  # noqa: E402
from clear_rt.models.dit_blocks import WidthNorm  # noqa: E402
from clear_rt.models.fp8 import E4M3, Fp8Linear, Fp8Rounded, replace_modules, scale_of  # noqa: E402

# Half a unit of 3 bits of significand, and half of the smallest step; from fp32 another side of a tie may be taken.
E4M3_HALF_UNIT, E4M3_HALF_STEP = 2.0**-4 * 1.001, 2.0**-10
LINEARS = ("self_attn.qkv", "self_attn.o", "cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2")
WIDTH, EPS = 128, 1e-6
SMALL = BakedConfig(width=WIDTH, heads=2, layers=3, ffn_width=80, occlusion=True, text_keys=5, timesteps=2)


def fp8_of(linear, amax):
    return Fp8Linear.of(linear.requires_grad_(False), scale_of(torch.tensor(amax, device=linear.weight.device)))


@pytest.fixture
def norm(draw, device):
    made = torch.nn.LayerNorm(WIDTH, EPS).to(device).requires_grad_(False)
    made.weight.copy_(1 + 0.3 * draw(WIDTH))
    made.bias.copy_(draw(WIDTH))
    return made


@pytest.fixture
def results(draw, norm):
    """What ops make of the same tensors, by the name of the method: those that go `into` a linear."""
    x, y = draw(1, 6, WIDTH), draw(1, 6, WIDTH)
    gate, shift, scale = draw(3, WIDTH).unbind()

    def made(ops, into):
        return {
            "modulated": ops.modulated(x, shift, scale, EPS, into),
            "residual_normed": ops.residual_normed(x, y, gate, norm, into)[1],
            "residual_modulated": ops.residual_modulated(x, y, shift, scale, EPS, into)[1],
        }

    return made


def test_what_goes_into_an_fp8_linear_is_in_e4m3_by_its_scale(results, device):
    plain = torch.nn.Linear(WIDTH, 16).to(device)
    fp8, expected = fp8_of(plain, 3.0), results(TorchOps(), plain)
    for name, found in results(TritonOps(), plain).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-5, atol=1e-5)
    for name, found in results(TritonOps(), fp8).items():
        assert found.dtype == E4M3, name
        exact = (expected[name].double() / fp8.input_scale).clamp(-448, 448)
        assert (exact.abs() == 448).any(), name
        assert ((found.double() - exact).abs() <= E4M3_HALF_UNIT * exact.abs() + E4M3_HALF_STEP).all(), name


@pytest.mark.parametrize("unfit", [lambda: torch.nn.Linear(WIDTH, 16, bias=False), lambda: linear_in_halves()])
def test_a_linear_that_could_not_answer_in_the_type_of_its_inputs_gets_them_as_they_are(results, device, unfit):
    for found in results(TritonOps(), fp8_of(unfit().to(device), 3.0)).values():
        assert found.dtype == torch.float32


def linear_in_halves():
    return torch.nn.Linear(WIDTH, 16).bfloat16()


@pytest.mark.gpu
def test_a_gpu_without_fp8_gets_no_e4m3(results, device, monkeypatch):
    monkeypatch.setattr("clear_rt.kernels.block_ops.has_fp8", lambda capability: False)
    for found in results(TritonOps(), fp8_of(torch.nn.Linear(WIDTH, 16).to(device), 3.0)).values():
        assert found.dtype == torch.float32


def test_what_is_kept_of_weights_follows_them(results, norm, device):
    plain, ops = torch.nn.Linear(WIDTH, 16).to(device), TritonOps()
    fp8 = fp8_of(plain, 3.0)
    before = results(ops, fp8)["modulated"].double()
    norm.weight.mul_(2)
    changed, expected = (results(some, plain)["residual_normed"] for some in (ops, TorchOps()))
    torch.testing.assert_close(changed, expected, rtol=1e-5, atol=1e-5)
    fp8.input_scale.mul_(2)
    after, inside = results(ops, fp8)["modulated"].double(), before.abs() < 448
    # Half of a number of E4M3 is one, but for the smallest, whose steps are all the same.
    assert ((after - before / 2)[inside].abs() <= 2.0**-10).all()
    assert (before[inside].abs() > 64).any()


def test_cross_attention_s_queries_are_normed_and_split(draw, device):
    norm = WidthNorm(WIDTH, EPS).to(device).requires_grad_(False)
    norm.weight.copy_(1 + draw(WIDTH))
    q = draw(2, 5, 3 * WIDTH)[..., WIDTH : 2 * WIDTH]
    found, expected = (ops.queries(q, norm, 4) for ops in (TritonOps(), TorchOps()))
    assert found.shape == (2, 5, 4, WIDTH // 4)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("in_fp8", [(), ("2",), ("0", "2")])
def test_a_feed_forward_network_is_its_modules_one_after_the_other(draw, device, in_fp8):
    network = torch.nn.Sequential(torch.nn.Linear(WIDTH, 80), torch.nn.GELU("tanh"), torch.nn.Linear(80, 48))
    network = network.to(device).requires_grad_(False)
    replace_modules(network, {name: fp8_of(network[int(name)], 4.0) for name in in_fp8})
    x = draw(2, 5, WIDTH, scale=3.0)
    found, expected = (ops.feed_forward(x, network) for ops in (TritonOps(), TorchOps()))
    assert found.dtype == torch.float32
    # GELU differs by 2**-22, which puts few numbers of E4M3 on the other side of a tie.
    assert (found - expected).norm() <= (2e-3 if in_fp8 else 1e-6) * expected.norm()


@pytest.fixture
def dit(randomise, device):
    """A transformer of three blocks, keys weighed in the last, all linears of its blocks in FP8."""
    made = randomise(BakedDit(SMALL).requires_grad_(False)).eval()
    names = [f"blocks.{i}.{name}" for i in range(SMALL.layers) for name in LINEARS]
    replace_modules(made, {name: fp8_of(made.get_submodule(name), 6.0) for name in names})
    made = made.to(device)
    return made.place_turns(made.time)


@pytest.fixture
def window(draw):
    """Latents and control latents."""
    return draw(2, 1, SMALL.latent_channels, 2, 6, 10).unbind()


def velocity(dit, latents, control):
    latents, control = latents.to(dit.time.dtype), control.to(dit.time.dtype)
    return dit(latents, dit.control(control), torch.tensor(1, device=latents.device))


def by_kernels(dit):
    ours = copy.deepcopy(dit)
    use_kernels(ours)
    return ours


def relative(found, expected):
    return float((found.float() - expected.float()).norm() / expected.float().norm())


def test_kernels_are_put_into_one_transformer_alone(dit):
    ours = by_kernels(dit)
    products = [module.product for module in ours.modules() if isinstance(module, Fp8Linear)]
    assert all(isinstance(product, ScaledProduct) for product in products)
    assert len(set(map(id, products))) == SMALL.layers * len(LINEARS)
    assert (ours.attend, type(ours.ops)) == (attention, TritonOps)
    assert not any(isinstance(module, Fp8Linear) and module.product in products for module in dit.modules())
    assert type(dit.ops) is TorchOps


@pytest.mark.skipif(torch.cuda.is_available(), reason="in float32, which attention takes in the interpreter alone")
def test_a_transformer_in_fp8_by_kernels_is_the_one_by_torch(dit, window):
    """In fp32, where few numbers fall to the other side of a tie of E4M3."""
    assert 0 < relative(velocity(by_kernels(dit), *window), velocity(dit, *window)) < 2e-3


@pytest.mark.gpu
def test_on_a_gpu_kernels_are_as_close_to_float32_as_torch_is(dit, window):
    exact = velocity(dit, *window)
    halves = dit.bfloat16().place_turns(dit.time)
    ours = velocity(by_kernels(halves), *window)
    assert ours.dtype == torch.bfloat16
    # They round less often; what the FP8 units cut off of sums of 128 and 80 products is little.
    assert relative(ours, exact) < 1.5 * relative(velocity(halves, *window), exact)


@pytest.mark.gpu
def test_a_captured_step_answers_other_inputs(dit, window):
    ours = by_kernels(dit.bfloat16().place_turns(dit.time))
    latents, control = (x.bfloat16() for x in window)
    tokens, row = ours.control(control), torch.tensor(1, device=latents.device)
    ours(latents, tokens, row)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = ours(latents, tokens, row)
    latents.neg_()
    row.zero_()
    expected = ours(latents, tokens, row)
    graph.replay()
    assert torch.equal(captured, expected)


def test_rounding_for_attention_stays_by_its_definition(dit, device):
    rounded = Fp8Rounded(torch.tensor(0.5, device=device))
    dit.blocks[0].self_attn.attended[0] = rounded
    use_kernels(dit)
    # Steps of 4 between 32 and 64, in halves.
    assert rounded(torch.tensor([17.2, 1e9], device=device)).tolist() == [18.0, 224.0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_and_interpreter_nothing_is_put_in(dit, monkeypatch):
    monkeypatch.setattr(chips, "INTERPRETED", False)
    with pytest.raises(EngineError, match="expected tensors on an NVIDIA GPU, got them on cpu"):
        use_kernels(dit)
    assert type(dit.ops) is TorchOps


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("biased", [True, False])
def test_attention_on_a_gpu_with_a_bias_and_without(draw, dtype, biased):
    """Values from a fused product, as they come. The weights are rounded to the dtype, and so is the result."""
    q, k = draw(1, 333, 3, 128, dtype=dtype), draw(1, 333, 3, 128, dtype=dtype)
    v = draw(1, 333, 3 * 3 * 128, dtype=dtype)[..., -3 * 128 :].unflatten(-1, (3, 128))
    bias = -draw(1, 3, 333).abs() if biased else None
    exact = attention_ref(q.double(), k.double(), v.double(), bias)
    found = attention(q, k, v, bias)
    assert (found.dtype, found.shape) == (dtype, q.shape)
    assert relative(found, exact) < {torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}[dtype]


@pytest.mark.gpu
def test_attention_of_a_real_window_without_a_bias(device):
    """20,160 tokens of twelve heads, of which some queries are compared."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 20_160, 12, 128, device=device, dtype=torch.bfloat16).unbind()
    some = torch.tensor([0, 1, 10_000, 20_159], device=device)
    found = attention(q, k, v, None)[:, some]
    assert relative(found, attention_ref(q[:, some].double(), k.double(), v.double(), None)) < 2.0**-7
