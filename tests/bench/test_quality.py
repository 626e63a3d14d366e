"""One engine beside another: the figures by hand, and engines that are equal, close and wrong."""

from __future__ import annotations

from math import log10

import numpy as np
import pytest

from clear_rt.bench.config import BenchConfig
from clear_rt.bench.network import Window
from clear_rt.bench.plan import planned
from clear_rt.bench.quality import compared, psnr_db, relative_rms
from clear_rt.bench.quality_choice import not_compared
from clear_rt.bundle import open_bundle
from clear_rt.runtime.engine import open_engine
from clear_rt.shapes import Size

SIZE, WINDOW = Size(48, 32), Window(2, 1)


class Changed:
    """An engine whose velocities are those of another times a factor."""

    name = "changed"

    def __init__(self, engine, factor):
        self._engine, self._factor = engine, np.float32(factor)

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def velocity(self, latents, control, row):
        return self._engine.velocity(latents, control, row) * self._factor


def test_figures_by_hand():
    a, b = np.full((2, 2, 3), 10, np.uint8), np.full((2, 2, 3), 13, np.uint8)
    assert psnr_db([a, a], [a, a]) is None
    assert psnr_db([a], [b]) == psnr_db([b], [a]) == pytest.approx(20 * log10(255 / 3))
    # One of two pictures differs: half the mean square.
    assert psnr_db([a, a], [a, b]) == pytest.approx(10 * log10(255**2 / 4.5))
    assert relative_rms(np.float32([3, 4]), np.float32([0, 4])) == pytest.approx(0.75)


def test_engines_equal_and_wrong():
    bundle = open_bundle()
    engine = open_engine("onnx", bundle)
    same = compared(engine, engine, bundle.generator, SIZE, window=WINDOW, steps=2)
    assert (same["psnr_db"], same["velocity_relative_rms"], same["reference"]) == (None, 0.0, "onnx")
    assert same["frames"] == WINDOW.frames == 5
    wrong, worse = (
        compared(Changed(engine, factor), engine, bundle.generator, SIZE, window=WINDOW, steps=2)
        for factor in (1.01, 1.5)
    )
    # All velocities a hundredth too long, in float32.
    assert wrong["velocity_relative_rms"] == pytest.approx(0.01, rel=1e-4)
    assert worse["velocity_relative_rms"] == pytest.approx(0.5, rel=1e-4)
    assert worse["psnr_db"] < wrong["psnr_db"]
    assert same["ssim"] == pytest.approx(1.0)
    assert worse["ssim"] < wrong["ssim"] <= 1.0


def test_why_quality_is_not_measured():
    bundle = open_bundle()
    engine = open_engine("onnx", bundle)
    (plan,) = planned(BenchConfig(profiles=("160x96",)), bundle, bundle.generator)

    def why(engine, bundle=bundle, **options):
        return not_compared(plan, BenchConfig(profiles=("160x96",), **options), engine, bundle)

    assert why(engine) == "the engine is the reference itself"
    other = Changed(engine, 1)
    assert why(other, quality=False) == "not asked for (--no-quality)"
    assert why(other, quality_limit_s=1e-6).endswith("on this CPU; give --quality")
    assert why(other) is None
    assert why(other, quality=True, quality_limit_s=1e-6) is None
