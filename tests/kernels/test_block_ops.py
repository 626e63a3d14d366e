"""The `cuda` engine by our kernels is the one by torch: switched by a word."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")
pytest.importorskip("safetensors", reason="weights are safetensors: pip install '.[cuda]'")

from clear_rt.bundle import open_bundle  # noqa: E402
from clear_rt.errors import EngineError  # noqa: E402
from clear_rt.kernels import chips  # noqa: E402
from clear_rt.runtime.engine import open_engine  # noqa: E402

# fp32 through some 30 layers: both sides round differently, each by 2**-24 a time.
SAME = 1e-5


@pytest.mark.parametrize("grid", [(1, 2, 2), (2, 6, 10)])
def test_triton_and_torch_agree_on_the_velocity(random_bundle, grid):
    """Two heads of 128, occlusion head included."""
    bundle = open_bundle(random_bundle)
    random = np.random.default_rng(0)
    latents, control = (random.standard_normal((16, *grid), dtype=np.float32) for _ in range(2))
    found = {}
    for kernels in ("torch", "triton"):
        engine = open_engine("cuda", bundle, kernels=kernels)
        found[kernels] = engine.velocity(latents, engine.control(control), 3)
    difference = np.linalg.norm(found["triton"] - found["torch"])
    assert 0 < difference <= SAME * np.linalg.norm(found["torch"])


def test_triton_and_torch_agree_on_the_vae_step_by_step(random_bundle):
    bundle = open_bundle(random_bundle)
    frames = np.random.default_rng(0).uniform(-1, 1, (3, 9, 32, 48)).astype(np.float32)
    engines = [open_engine("cuda", bundle, kernels=kernels) for kernels in ("torch", "triton")]
    caches, decoded = [None, None], [None, None]
    for start, stop in ((0, 1), (1, 5), (5, 9)):
        latents = []
        for i, engine in enumerate(engines):
            latent, caches[i] = engine.encode(frames[:, start:stop], caches[i])
            latents.append(latent)
        assert 0 < np.linalg.norm(latents[1] - latents[0]) <= SAME * np.linalg.norm(latents[0])
        pictures = []
        for i, engine in enumerate(engines):
            picture, decoded[i] = engine.decode(latents[0], decoded[i])
            pictures.append(picture)
        assert 0 < np.linalg.norm(pictures[1] - pictures[0]) <= SAME * np.linalg.norm(pictures[0])


def test_without_a_gpu_the_kernels_are_refused_in_a_sentence(random_bundle, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(chips, "INTERPRETED", False)
    with pytest.raises(
        EngineError,
        match="--kernels triton: expected tensors on an NVIDIA GPU, got them on cpu; choose --kernels torch",
    ):
        open_engine("cuda", open_bundle(random_bundle), kernels="triton")
