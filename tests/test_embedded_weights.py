"""The embedded bundle's networks in torch, against its own graphs."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")
pytest.importorskip("onnx", reason="reads graphs: pip install '.[export]'")

import torch

from benchmarks.embedded_weights import embedded_dit, embedded_vae
from clear_rt.bundle import open_bundle
from clear_rt.runtime.onnx import OnnxEngine
from clear_rt.runtime.torch_networks import TorchNetworks


@pytest.mark.parametrize("row", [0, 13, 21])
def test_the_transformer_answers_as_the_graphs_do(row):
    bundle = open_bundle()
    engine, dit = OnnxEngine(bundle), embedded_dit(bundle.generator)
    random = np.random.default_rng(row)
    latents, control = random.standard_normal((2, 16, 3, 6, 10), np.float32)
    expected = engine.velocity(latents, engine.control(control), row)
    with torch.inference_mode():
        tokens = dit.control(torch.from_numpy(control)[None])
        found = dit(torch.from_numpy(latents)[None], tokens, torch.tensor(row))[0].numpy()
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def test_the_vae_answers_as_the_graphs_do():
    """Of two steps, so that its convolutions over time look back on something."""
    bundle = open_bundle()
    engine, torch_made = OnnxEngine(bundle), TorchNetworks(None, *embedded_vae(bundle.generator))
    random = np.random.default_rng(0)
    frames = np.tanh(random.standard_normal((3, 5, 48, 80), np.float32))
    latents = random.standard_normal((2, 16, 6, 10), np.float32)
    answers = []
    for networks in (engine, torch_made):
        first, caches = networks.encode(frames[:, :1], None)
        answers.append([first, networks.encode(frames[:, 1:], caches)[0]])
        picture, caches = networks.decode(latents[0], None)
        answers[-1] += [picture, networks.decode(latents[1], caches)[0]]
    for expected, found in zip(*answers, strict=True):
        assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)
