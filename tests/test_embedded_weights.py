"""The embedded bundle's transformer in torch, against its own graphs."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")
pytest.importorskip("onnx", reason="reads graphs: pip install '.[export]'")

import torch

from benchmarks.embedded_weights import embedded_dit
from clear_rt.bundle import open_bundle
from clear_rt.runtime.onnx import OnnxEngine


@pytest.mark.parametrize("row", [0, 13, 21])
def test_it_answers_as_the_graphs_do(row):
    bundle = open_bundle()
    engine, dit = OnnxEngine(bundle), embedded_dit(bundle.generator)
    random = np.random.default_rng(row)
    latents, control = random.standard_normal((2, 16, 3, 6, 10), np.float32)
    expected = engine.velocity(latents, engine.control(control), row)
    with torch.inference_mode():
        tokens = dit.control(torch.from_numpy(control)[None])
        found = dit(torch.from_numpy(latents)[None], tokens, torch.tensor(row))[0].numpy()
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)
