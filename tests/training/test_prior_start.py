"""Training that goes on from a bundle's prior: it begins at the same function, and with norms that learn."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
onnx = pytest.importorskip("onnx", reason="the prior is read out of its graph: pip install '.[train]'")
pytest.importorskip("PIL", reason="captions are drawn with Pillow: pip install '.[train]'")

from clear_rt.bundle import EMBEDDED, open_bundle  # noqa: E402
from clear_rt.errors import BundleError, ConfigError  # noqa: E402
from clear_rt.models.prior import PriorGraph, PriorNet  # noqa: E402
from clear_rt.runtime.onnx import OnnxEngine  # noqa: E402
from training.prior import Crops, TrainConfig, Trainer, training_notes  # noqa: E402
from training.prior_start import begin_at  # noqa: E402


def pictures(count=6):
    return torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (count, 3, 64, 96)).astype(np.float32))


def test_it_computes_what_the_bundle_computes():
    bundle, net = open_bundle(), PriorNet()
    begin_at(net, bundle.prior.graph, pictures())
    rgb = np.random.default_rng(1).integers(0, 256, (80, 112, 3), np.uint8)
    with torch.inference_mode():
        found = PriorGraph(net.eval())(torch.from_numpy(rgb)[None])[0].numpy()
    assert np.abs(found.astype(int) - OnnxEngine(bundle).occlusion(rgb)).max() <= 1


def test_a_norm_of_its_batch_changes_nothing_on_the_pictures_it_was_measured_on():
    net, shown = PriorNet(), pictures()
    begin_at(net, open_bundle().prior.graph, shown)
    assert net.training
    with torch.no_grad():
        # In this order: a pass in training moves the statistics.
        ready, learning = net.eval()(shown)[0], net.train()(shown)[0]
    assert (learning - ready).abs().max() < 1e-4 * ready.abs().max()
    assert all((norm.weight > 0).all() for norm in net.modules() if isinstance(norm, torch.nn.BatchNorm2d))


@pytest.mark.parametrize("damage", ["missing", "wider", "strange"])
def test_another_network_is_refused(damage):
    model = onnx.load_from_string(open_bundle().prior.graph)
    stored = next(i for i in model.graph.initializer if i.name == "net.lateral.1.weight")
    if damage == "missing":
        model.graph.initializer.remove(stored)
    elif damage == "wider":
        stored.CopyFrom(onnx.numpy_helper.from_array(np.zeros((49, 80, 1, 1), np.float32), stored.name))
    else:
        stored.name = "net.lateral.7.weight"
    with pytest.raises(BundleError, match="the bundle's prior"):
        begin_at(PriorNet(), model.SerializeToString(), pictures())


def test_a_run_begins_there_once(tmp_path):
    (tmp_path / "pairs").mkdir()
    rng = np.random.default_rng(0)
    for number in range(7):
        np.save(tmp_path / "pairs" / f"shard-{number:03d}.npy", rng.integers(0, 256, (12, 32, 48, 7), np.uint8) // 2)
    crops, config = Crops(tmp_path / "pairs"), TrainConfig(steps=2, batch=2, begin=str(EMBEDDED))
    trainer = Trainer(tmp_path, config)
    drawn = trainer.model.prior.head.weight.clone()
    trainer.begin(crops)
    begun = trainer.model.prior.head.weight.clone()
    assert not torch.equal(drawn, begun)
    trainer.step = 1
    torch.nn.init.zeros_(trainer.model.prior.head.weight)
    trainer.begin(crops)
    assert not trainer.model.prior.head.weight.any()
    notes = training_notes(config, crops, {})
    manifest = json.loads((EMBEDDED / "manifest.json").read_text())
    assert notes["begun_at_sha256"] == manifest["prior"]["sha256"]
    assert training_notes(dataclasses.replace(config, begin=None), crops, {})["begun_at_sha256"] is None


def test_the_papers_backbone_begins_nowhere():
    with pytest.raises(ConfigError, match="--begin takes the prior of a bundle"):
        TrainConfig(backbone="resnet50", begin=str(EMBEDDED))
