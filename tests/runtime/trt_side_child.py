"""What test_trt_gpu.py starts: the `trt` engine on a GPU without TensorRT, in a process without torch and Triton.

    python -m tests.runtime.trt_side_child KERNELS VIDEO

KERNELS is a folder as `conftest.kernels_folder`. ONNX graphs compute on the host, by copies there and back: memory,
streams, copies, kernels and pictures are the GPU's, and what comes out is what the engine `onnx` makes.
"""

import json
import sys
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np

from clear_rt import frames
from clear_rt.bundle import open_bundle
from clear_rt.config import CompositeConfig, DenoiseConfig
from clear_rt.crops import place
from clear_rt.generate import CropGenerator
from clear_rt.manifest import Entry, Files
from clear_rt.pictures import HostPictures
from clear_rt.report import Stopwatch
from clear_rt.runtime.onnx import OnnxEngine
from clear_rt.runtime.slim.kernel_files import read_kernels
from clear_rt.runtime.trt.device import open_device
from clear_rt.runtime.trt.engine import SlimEngine
from clear_rt.shapes import Box, Size
from tests.runtime.host_networks import CopiedNetworks

PICTURES, TARGET = 27, Box(201, 331, 95, 33)
# Half a level of the host's rounding, and what swscale's own arithmetic adds (test_cuda_pictures.py).
SHOWN_LEVELS = 0.55


def engine_of(spec, bundle, *, captures):
    device = open_device(spec, captures=captures)
    assert device.kernels is not None, device.obstacle
    networks = CopiedNetworks(bundle, device)
    return SlimEngine(bundle, device, networks, networks, "copied")


def generated(engine, bundle, shown):
    """Encoded, denoised in every policy and decoded: the engine `onnx` makes the same bits."""
    crops = [frame.rgb(404, 720)[340:372, 200:248] for frame in shown]
    for policy in ("paper", "reference", "stream"):
        made = []
        for one in (engine, OnnxEngine(bundle)):
            generator = CropGenerator(one, bundle.generator, DenoiseConfig(policy=policy, steps=2))
            made.append(np.stack([*generator.crops(0, crops, PICTURES, Stopwatch())]))
        np.testing.assert_array_equal(*made)


def pasted(engine, frame, placement, seeds):
    """Planes of a frame with content of each seed, one after the other in the same place."""
    content = (3, placement.profile.height_px, placement.profile.width_px)
    matte = np.zeros(placement.picture[::-1], np.uint8)
    matte[TARGET.y_px + 4 : TARGET.bottom_px - 4, TARGET.x_px + 4 : TARGET.right_px - 4] = 255
    for seed in seeds:
        there = engine.side.from_host(np.random.default_rng(seed).uniform(-1, 1, content).astype(np.float32))
        done = engine.side.pictures.pasted(frame, placement, matte, CompositeConfig(fill="model"), there)
        for plane, was in zip(done.planes, frame.planes, strict=True):
            changed = plane.samples != was.samples
            assert changed.any()
            rows = slice(TARGET.y_px // was.step_y_px, -(-TARGET.bottom_px // was.step_y_px))
            columns = slice(TARGET.x_px // was.step_x_px, -(-TARGET.right_px // was.step_x_px))
            changed[rows, columns] = False
            assert not changed.any()
            yield plane.samples.copy()


def main():
    folder, video = map(Path, sys.argv[1:])
    entry = json.loads((folder / "manifest.json").read_text())
    spec, bundle = read_kernels(Entry(entry, "manifest.json"), Files(folder)), open_bundle()
    with closing(frames.read(frames.probe(video))) as found:
        shown = list(islice(found, 30, 30 + PICTURES))
    captured, plain = (engine_of(spec, bundle, captures=captures) for captures in (True, False))
    generated(captured, bundle, shown)
    assert {"step", "control", "encoder", "decoder"} <= captured.graphs_refused.keys()
    placement, host = place(TARGET, Size(720, 404), 16, 1 << 20, ()), HostPictures()
    pictures = captured.side.pictures
    cut = [[one.cut(frame, None, {0: placement})[0] for frame in shown[:4]] for one in (pictures, host)]
    there = captured.side.to_host(pictures.shown(cut[0]))
    assert np.abs(there - host.shown(cut[1])).max() * 127.5 <= SHOWN_LEVELS
    for one, other in zip(
        *(pasted(engine, shown[0], placement, (1, 2, 1)) for engine in (captured, plain)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert (captured.device.pictures.graphs.count, plain.device.pictures.graphs.count) == (1, 0)
    assert not {"torch", "triton", "diffusers"} & {*sys.modules}


if __name__ == "__main__":
    main()
