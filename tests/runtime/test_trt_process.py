"""The `trt` engine in processes of its own: what it loads, and that a whole removal needs no torch."""

import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from clear_rt import frames
from clear_rt.config import CompositeConfig, DenoiseConfig, RegionConfig, RunConfig, WriteConfig
from clear_rt.remover import remove
from clear_rt.runtime.device import gpu_count
from clear_rt.shapes import Box

HEAVY = {"torch", "triton", "diffusers", "transformers", "peft", "modelopt", "safetensors", "onnx", "cuda", "pycuda"}
BOX, STEPS = Box(200, 330, 48, 32), 2
_IMPORTED = """
import pkgutil, sys
from importlib import import_module
import clear_rt.runtime.trt as trt
names = [found.name for found in pkgutil.iter_modules(trt.__path__)]
for name in names:
    import_module(f"clear_rt.runtime.trt.{name}")
assert len(names) > 12, names
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
_REMOVED = """
import sys
from pathlib import Path
from clear_rt.bundle import open_bundle
from clear_rt.config import *
from clear_rt.remover import Remover
from clear_rt.runtime.slim.context import open_context
from clear_rt.runtime.trt.device import device_of
from clear_rt.runtime.trt.engine import SlimEngine
from clear_rt.shapes import Box
from tests.runtime.host_driver import host_driver
from tests.runtime.host_networks import OnnxNetworks
with host_driver() as driver:
    bundle = open_bundle()
    networks = OnnxNetworks(bundle, driver)
    device = device_of(open_context(), None, "no kernels in this test")
    engine = SlimEngine(bundle, device, networks, networks, "a stand-in")
    config = RunConfig(region=RegionConfig(mode="fixed", boxes=(Box(*map(int, sys.argv[3].split(","))),)),
                       composite=CompositeConfig(fill="model"), denoise=DenoiseConfig(steps=int(sys.argv[4])),
                       write=WriteConfig(lossless=True))
    report = Remover(config, bundle=bundle, engine=engine)(Path(sys.argv[1]), Path(sys.argv[2]))
    assert (report.engine, report.windows > 0) == ("trt", True)
    assert networks.runs["prior"] > 50 and driver.called["cuGraphLaunch"] > 100
    print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def said(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_loads_no_torch_no_triton_no_tensorrt_and_no_driver():
    loaded = {*said(_IMPORTED).split()}
    assert not loaded & (HEAVY | {"tensorrt", "tensorrt_rtx"})


@pytest.mark.skipif(gpu_count() > 0, reason="a GPU is here: test_trt_gpu.py runs on it")
def test_a_whole_removal_loads_no_torch_and_no_triton(subtitled, tmp_path):
    """Law 3, on the host's memory: and what comes out is what the engine `onnx` makes, every sample of it."""
    target, other = tmp_path / "trt.mkv", tmp_path / "onnx.mkv"
    box = ",".join(map(str, (BOX.x_px, BOX.y_px, BOX.width_px, BOX.height_px)))
    loaded = {*said(_REMOVED, subtitled, target, box, STEPS).split()}
    assert not loaded & (HEAVY - {"cuda"})
    config = RunConfig(
        engine="onnx",
        region=RegionConfig(mode="fixed", boxes=(BOX,)),
        composite=CompositeConfig(fill="model"),
        denoise=DenoiseConfig(steps=STEPS),
        write=WriteConfig(lossless=True),
    )
    assert remove(subtitled, other, config).frames == 100
    with closing(frames.read(frames.probe(target))) as found, closing(frames.read(frames.probe(other))) as expected:
        for one, same in zip(found, expected, strict=True):
            for plane, wanted in zip(one.planes, same.planes, strict=True):
                np.testing.assert_array_equal(plane.samples, wanted.samples)
