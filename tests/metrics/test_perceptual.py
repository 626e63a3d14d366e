"""LPIPS and DISTS with random weights, against their formulas in float64 numpy, and files that are none of theirs.

Both were also run once beside the authors' packages (lpips 0.1.4, DISTS-pytorch 0.1), with their heads and the same
random backbones: the results agreed within 4e-8.
"""

import sys

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks are written in torch: pip install '.[train]'")
pytest.importorskip("safetensors", reason="files of weights are opened with safetensors: pip install '.[train]'")

import torch

from clear_rt.errors import ConfigError, WeightsError
from clear_rt.metrics import dists, lpips
from clear_rt.metrics.config import EvalConfig
from clear_rt.metrics.dists import Dists
from clear_rt.metrics.judges import Judges
from clear_rt.metrics.lpips import Lpips

DISTS_LAYERS = [layer for stage in dists.STAGES for layer in stage]
# float32 networks of up to 13 layers beside float64 ones.
TOLERANCE = 2e-6


def drawn(shapes, seed, *, positive=False):
    """Weights that keep the scale of what flows through them; heads are positive, as the authors'."""
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=random)
        tensors[name] = (
            values.abs() if positive else 0.2 * values if len(shape) == 1 else values * (2 / values[0].numel()) ** 0.5
        )
    return tensors


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Four files of weights by name, and their tensors."""
    folder = tmp_path_factory.mktemp("perceptual")
    layers = {"alexnet": lpips.LAYERS, "vgg16": DISTS_LAYERS}
    tensors = {
        name: drawn({key: shape for one in of for key, shape in one.shapes.items()}, seed)
        for seed, (name, of) in enumerate(layers.items())
    }
    tensors |= {"lins": drawn(lpips.HEADS, 2, positive=True), "heads": drawn(dists.HEADS, 3, positive=True)}
    for name, found in tensors.items():
        torch.save(found | {"classifier.6.bias": torch.zeros(3)}, folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name in tensors}, {
        name: {key: value.double().numpy() for key, value in found.items()} for name, found in tensors.items()
    }


def convolved(x, weight, bias, stride, padding):
    """[C, h, w] with [D, C, k, k], one tap after another."""
    side = weight.shape[-1]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    height, width = ((length - side) // stride + 1 for length in x.shape[1:])
    total = np.zeros((weight.shape[0], height, width)) + bias[:, None, None]
    for row, column in np.ndindex(side, side):
        part = x[:, row : row + stride * height : stride, column : column + stride * width : stride]
        total += np.tensordot(weight[:, :, row, column], part, 1)
    return np.maximum(total, 0)


def pooled(x, reduce):
    """Windows of 3x3, every second."""
    height, width = ((length - 3) // 2 + 1 for length in x.shape[1:])
    windows = [x[:, r : r + 2 * height : 2, c : c + 2 * width : 2] for r, c in np.ndindex(3, 3)]
    return reduce(np.stack(windows))


def lpips_by_formula(a, b, convolutions, heads):
    def features(rgb):
        x = rgb.transpose(2, 0, 1) / 127.5 - 1
        x = (x - np.array([-0.030, -0.088, -0.188])[:, None, None]) / np.array([0.458, 0.448, 0.450])[:, None, None]
        for number, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
            if number in (3, 6):
                x = pooled(x, lambda windows: windows.max(axis=0))
            x = convolved(
                x, *(convolutions[f"features.{number}.{kind}"] for kind in ("weight", "bias")), stride, padding
            )
            yield x / (np.sqrt((x**2).sum(axis=0)) + 1e-10)

    return sum(
        (heads[f"lin{i}.model.1.weight"].ravel() @ ((x - y) ** 2).reshape(len(x), -1)).mean()
        for i, (x, y) in enumerate(zip(features(a), features(b), strict=True))
    )


def dists_by_formula(a, b, convolutions, heads):
    hann = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]).ravel() / 4

    def features(rgb):
        x = rgb.transpose(2, 0, 1) / 255
        yield x
        x = (x - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array([0.229, 0.224, 0.225])[:, None, None]
        for stage in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
            if stage[0]:
                x = np.pad(x**2, ((0, 0), (1, 1), (1, 1)))
                x = np.sqrt(pooled(x, lambda windows: np.tensordot(hann, windows, 1)) + 1e-12)
            for number in stage:
                x = convolved(x, *(convolutions[f"features.{number}.{kind}"] for kind in ("weight", "bias")), 1, 1)
            yield x

    texture, structure = (
        heads[name].ravel() / (heads["alpha"].sum() + heads["beta"].sum()) for name in ("alpha", "beta")
    )
    alike, channel = 0.0, 0
    for x, y in zip(features(a), features(b), strict=True):
        for one, other in zip(x, y, strict=True):
            alike += (
                texture[channel] * (2 * one.mean() * other.mean() + 1e-6) / (one.mean() ** 2 + other.mean() ** 2 + 1e-6)
            )
            both = np.cov(one.ravel(), other.ravel(), bias=True)
            alike += structure[channel] * (2 * both[0, 1] + 1e-6) / (both[0, 0] + both[1, 1] + 1e-6)
            channel += 1
    return 1 - alike


def pictures(height_px, width_px):
    random = np.random.default_rng(height_px)
    a = random.integers(0, 256, (height_px, width_px, 3), np.uint8)
    return a, np.clip(a + random.normal(0, 40, a.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(31, 31), (47, 70)])
def test_lpips_is_its_formula(files, size):
    paths, tensors = files
    judge, (a, b) = Lpips(paths["alexnet"], paths["lins"]), pictures(*size)
    expected = lpips_by_formula(a, b, tensors["alexnet"], tensors["lins"])
    assert expected > 100 * TOLERANCE
    assert judge(a, b) == pytest.approx(expected, abs=TOLERANCE)
    assert judge(a, a) == 0.0
    assert judge(a[:30], b[:30]) is None


@pytest.mark.parametrize("size", [(33, 48), (1, 5)])
def test_dists_is_its_formula(files, size):
    paths, tensors = files
    judge, (a, b) = Dists(paths["vgg16"], paths["heads"]), pictures(*size)
    expected = dists_by_formula(a, b, tensors["vgg16"], tensors["heads"])
    assert expected > 100 * TOLERANCE
    assert judge(a, b) == pytest.approx(expected, abs=TOLERANCE)
    assert judge(a, a) == pytest.approx(0.0, abs=TOLERANCE)


def test_weights_of_something_else_are_refused(files, tmp_path):
    paths, _ = files
    with pytest.raises(
        WeightsError, match=r"lins\.pth: expected the state dict of torchvision's AlexNet, found no feat"
    ):
        Lpips(paths["lins"], paths["lins"])
    with pytest.raises(
        WeightsError, match=r"found features\.0\.weight of \(64, 3, 3, 3\) instead of \(64, 3, 11, 11\)"
    ):
        Lpips(paths["vgg16"], paths["lins"])
    with pytest.raises(WeightsError, match=r"lins\.pth: expected alpha and beta of DISTS, found no alpha"):
        Dists(paths["vgg16"], paths["lins"])
    broken = tmp_path / "broken.pth"
    broken.write_bytes(paths["lins"].read_bytes()[:400])
    with pytest.raises(WeightsError, match="fetch the file again"):
        Lpips(paths["alexnet"], broken)
    with pytest.raises(WeightsError, match="found none"):
        Lpips(tmp_path / "absent.pth", paths["lins"])


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_weights_and_heads_go_together(tmp_path, name):
    for given, missing in (("weights", "heads"), ("heads", "weights")):
        with pytest.raises(ConfigError, match=f"got --{name}-{given} alone; give --{name}-{missing}"):
            EvalConfig(**{f"{name}_{given}": tmp_path})


def test_without_torch_it_is_one_sentence(files, monkeypatch):
    paths, _ = files
    monkeypatch.setitem(sys.modules, "torch", None)
    config = EvalConfig(find_text=False, lpips_weights=paths["alexnet"], lpips_heads=paths["lins"])
    with pytest.raises(
        ConfigError, match=r"--lpips-weights needs torch, which is not installed; .*'clear-rt\[train\]'"
    ):
        Judges.load(config)
    assert Judges.load(EvalConfig(find_text=False)).lpips is None
