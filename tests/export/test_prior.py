"""The exported prior against its definition in torch: folding, graph, any size."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the definition is written in torch: pip install '.[train]'")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript: pip install '.[train]'")

import onnxruntime  # noqa: E402

from clear_rt.bundle import EMBEDDED, open_bundle  # noqa: E402
from clear_rt.errors import BundleError  # noqa: E402
from clear_rt.export.prior import export_prior, fold_norms, load_prior, write_bundle  # noqa: E402
from clear_rt.models.prior import PriorGraph, PriorNet  # noqa: E402


@pytest.fixture(scope="module")
def net():
    """Random weights and random norm statistics: fresh norms would make folding trivial."""
    torch.manual_seed(0)
    net = PriorNet()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_(0, 0.3)
    return net.eval()


def test_folding_is_exact_up_to_rounding(net):
    x = torch.randn(2, 3, 48, 80, dtype=torch.float64)
    plain = copy.deepcopy(net).double()
    folded = fold_norms(copy.deepcopy(net).double())
    with torch.no_grad():
        torch.testing.assert_close(folded(x)[0], plain(x)[0], rtol=1e-9, atol=1e-9)
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def test_the_graph_equals_torch_at_any_size(net, tmp_path):
    entry = export_prior(copy.deepcopy(net), tmp_path / "prior.onnx", 360)
    session = onnxruntime.InferenceSession(tmp_path / "prior.onnx", providers=["CPUExecutionProvider"])
    graph, rng = PriorGraph(net).eval(), np.random.default_rng(0)
    for height, width in ((16, 16), (48, 304), (368, 640)):
        rgb = rng.integers(0, 256, (1, height, width, 3), np.uint8)
        with torch.no_grad():
            expected = graph(torch.from_numpy(rgb)).numpy().astype(int)
        found = session.run(None, {"rgb": rgb})[0].astype(int)
        # Two fp32 orders of summation may round one probability in 1/255 steps to different neighbours.
        assert np.abs(found - expected).max() <= 1
    assert entry["parameters"] == sum(p.numel() for p in fold_norms(copy.deepcopy(net)).parameters())


def test_a_checkpoint_with_a_tensor_missing_or_left_over_is_refused(net, tmp_path):
    state = {f"module.prior.{key}": value for key, value in net.state_dict().items()}
    torch.save({"average": state}, tmp_path / "whole.pt")
    loaded = load_prior(tmp_path / "whole.pt")
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in loaded.state_dict().items())
    for name, broken in (
        ("missing", dict(list(state.items())[1:])),
        ("extra", state | {"module.prior.x": torch.zeros(1)}),
    ):
        torch.save({"average": broken}, tmp_path / f"{name}.pt")
        with pytest.raises(RuntimeError, match=name.replace("extra", "Unexpected").replace("missing", "Missing")):
            load_prior(tmp_path / f"{name}.pt")


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    torch.save({"average": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        load_prior(tmp_path / "evil.pt")


def test_a_new_bundle_holds_the_prior_alone(net, tmp_path):
    write_bundle(copy.deepcopy(net), tmp_path / "new", {"steps": 3})
    bundle = open_bundle(tmp_path / "new")
    assert (bundle.name, bundle.generator, bundle.engines) == ("new", None, ("onnx",))
    assert (bundle.prior.short_side_px, bundle.outliner) == (360, None)
    assert json.loads((tmp_path / "new" / "manifest.json").read_text())["training"] == {"prior": {"steps": 3}}


@pytest.mark.parametrize(("role", "side_px"), [("prior", 360), ("outliner", 720)])
def test_another_network_leaves_all_else_as_it_is(net, tmp_path, role, side_px):
    folder = shutil.copytree(EMBEDDED, tmp_path / "clear-tiny")
    write_bundle(copy.deepcopy(net), folder, {"steps": 3}, role)
    before, after = open_bundle(), open_bundle(folder)
    other = {"prior": "outliner", "outliner": "prior"}[role]
    assert getattr(after, role).graph != getattr(before, role).graph
    assert getattr(after, role).short_side_px == side_px
    assert getattr(after, other).graph == getattr(before, other).graph
    assert after.generator == replace(before.generator, graphs=after.generator.graphs)
    assert after.generator.graphs.keys() == before.generator.graphs.keys()
    told = [json.loads((path / "manifest.json").read_text()) for path in (EMBEDDED, folder)]
    assert told[0].keys() == told[1].keys()
    assert told[1]["training"] == told[0]["training"] | {role: {"steps": 3}}


def test_an_outliner_alone_is_no_bundle(net, tmp_path):
    with pytest.raises(BundleError, match="no bundle that an outliner could be added to"):
        write_bundle(copy.deepcopy(net), tmp_path / "new", {}, "outliner")
    assert not (tmp_path / "new").exists()
