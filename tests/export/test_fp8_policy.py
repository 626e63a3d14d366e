"""Which linears the policy sends to FP8."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")

from clear_rt.models.baked import BakedConfig, BakedDit  # noqa: E402
from clear_rt.models.fp8_policy import KINDS, Fp8Policy, block_linears, quantized_linears  # noqa: E402


def sizes(layers, occlusion=True):
    return BakedConfig(width=32, heads=2, layers=layers, ffn_width=64, occlusion=occlusion, text_keys=3, timesteps=5)


@pytest.mark.parametrize("occlusion", [False, True])
def test_the_names_are_the_linears_of_all_blocks(occlusion):
    with torch.device("meta"):
        dit = BakedDit(sizes(5, occlusion))
    linears = {name for name, module in dit.named_modules() if isinstance(module, torch.nn.Linear)}
    assert set(block_linears(dit.config)) == linears - {"embed", "control.embed", "head.head"}


@pytest.mark.parametrize(("layers", "edge"), [(1, 1), (6, 1), (8, 1), (13, 1), (14, 2), (30, 3), (40, 3), (41, 4)])
def test_edges_grow_with_the_depth(layers, edge):
    policy = Fp8Policy(edge_share=3 / 40)
    assert policy.edge_blocks(layers) == edge
    chosen = quantized_linears(sizes(layers), policy)
    assert {int(name.split(".")[1]) for name in chosen} == set(range(edge, layers - edge))
    assert len(chosen) == len(set(chosen)) == max(0, layers - 2 * edge) * len(KINDS)


def test_kinds_are_chosen():
    chosen = quantized_linears(sizes(4), Fp8Policy(kinds=("ffn.2", "ffn.0"), edge_share=0.2))
    assert chosen == ("blocks.1.ffn.2", "blocks.1.ffn.0", "blocks.2.ffn.2", "blocks.2.ffn.0")


@pytest.mark.parametrize("fault", [{"kinds": ()}, {"kinds": ("ffn.1",)}, {"edge_share": -0.1}, {"edge_share": 0.5}])
def test_what_is_no_policy_is_refused(fault):
    with pytest.raises(ValueError, match="expected kinds among"):
        Fp8Policy(**fault)
