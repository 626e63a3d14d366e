"""Engines beside the networks they were made of: equal ones pass, a wrong one and NaN do not."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks are torch: pip install '.[export]'")
pytest.importorskip("onnx", reason="the exporter needs onnx: pip install '.[export]'")

from clear_rt.bundle import open_bundle  # noqa: E402
from clear_rt.errors import EngineError  # noqa: E402
from clear_rt.export.verify import Outcome, Verified, clip, compared, outcome, require  # noqa: E402
from clear_rt.runtime.engine import open_engine  # noqa: E402
from clear_rt.shapes import Size  # noqa: E402


@pytest.fixture(scope="module")
def bundle(random_bundle):
    return open_bundle(random_bundle)


@pytest.fixture(scope="module")
def exact(bundle):
    return outcome(open_engine("cuda", bundle), bundle.generator)


def test_two_engines_of_one_network_agree(bundle, exact):
    found = compared(exact, outcome(open_engine("onnx", bundle), bundle.generator))
    assert found.psnr_db == 99.0
    assert found.velocity_error < 1e-5
    require("onnx", found, "fp32")


def test_the_whole_window_is_looked_at(bundle, exact):
    assert exact.velocity.shape == (16, 2, 8, 12)
    assert exact.frames.shape == (5, 64, 96, 3)
    assert np.ptp(exact.frames) > 10


def test_an_engine_with_one_wrong_weight_is_found(bundle, exact):
    engine = open_engine("cuda", bundle)
    engine._dit.blocks[1].ffn[0].weight.data[:, :40] *= -1
    found = compared(exact, outcome(engine, bundle.generator))
    assert found.velocity_error > 1e-3
    with pytest.raises(
        EngineError, match=r"engine cuda in fp32 is too far.*expected a PSNR of 50 dB or more, got PSNR"
    ):
        require("cuda", found, "fp32")


def test_nan_is_no_result(bundle):
    engine = open_engine("cuda", bundle)
    engine._dit.head.head.bias.data[3] = torch.nan
    with pytest.raises(EngineError, match="NaN"):
        outcome(engine, bundle.generator)


def test_figures_are_those_of_their_definition():
    frames, velocity = np.zeros((1, 2, 2, 3), np.float32), np.full((1, 1, 2, 2), 2.0, np.float32)
    found = compared(Outcome(velocity, frames), Outcome(velocity * 1.01, frames + 2.55))
    assert found.psnr_db == pytest.approx(40.0, abs=1e-5)
    assert found.velocity_error == pytest.approx(0.01, rel=1e-5)
    assert str(found) == "PSNR 40.0 dB, velocity off by 1.0e-02"


@pytest.mark.parametrize(("precision", "floor"), [("fp32", 50), ("bf16", 40), ("fp16", 40), ("fp8", 34)])
def test_floors_are_those_of_the_design(precision, floor):
    require("it", Verified(floor, 0.0), precision)
    for too_low in (floor - 0.01, float("nan")):
        with pytest.raises(EngineError, match=f"expected a PSNR of {floor} dB"):
            require("it", Verified(too_low, 0.0), precision)


@pytest.mark.parametrize("size", [Size(16, 16), Size(96, 64), Size(1280, 192)])
def test_the_clip_moves_has_texture_and_is_always_the_same(size):
    made = clip(size, 3)
    assert np.array_equal(made, clip(size, 3))
    assert made.shape == (3, size.height_px, size.width_px, 3)
    assert made.std() > 8
    assert (made[1] != made[0]).mean() > 0.2
