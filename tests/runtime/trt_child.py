"""What test_trt_gpu.py starts: the `trt` engine on a GPU, in a process without torch and Triton.

    python -m tests.runtime.trt_child BUNDLE GIVEN.npz MADE.npz

Everything is made twice, with graphs and without. Where the library does not take the GPU, its sentence is all that is
said, and there is no MADE.npz.
"""

import sys
from pathlib import Path

import numpy as np

from clear_rt.bundle import open_bundle
from clear_rt.config import DenoiseConfig
from clear_rt.errors import EngineError
from clear_rt.generate import CropGenerator
from clear_rt.report import Stopwatch
from clear_rt.runtime.trt.engine import TrtEngine


def networks(engine, given):
    """Every network of the bundle by itself."""
    clip = given["clip"]
    found = {
        "velocity": engine.velocity(given["latents"], engine.control(given["control"]), int(given["row"])),
        "occlusion": engine.occlusion(given["rgb"]),
    }
    pieces = [clip[:, :1], *(clip[:, i : i + 4] for i in range(1, clip.shape[1], 4))]
    for name, call, run in (("latent", engine.encode, pieces), ("frames", engine.decode, given["clean"])):
        caches = None
        for i, piece in enumerate(run):
            found[f"{name}_{i}"], caches = call(piece, caches)
    return found


def main():
    folder, given, made = map(Path, sys.argv[1:])
    bundle = open_bundle(folder)
    with np.load(given) as arrays:
        given = dict(arrays)
    found = {}
    for graphs in (True, False):
        try:
            engine = TrtEngine(bundle, graphs=graphs)
        except EngineError as error:
            sys.stdout.write(f"{error}\n")
            return
        found |= {f"{graphs}/{name}": array for name, array in networks(engine, given).items()}
        generator = CropGenerator(engine, bundle.generator, DenoiseConfig(steps=2))
        crops = list(given["crops"])
        found[f"{graphs}/crops"] = np.stack([*generator.crops(0, iter(crops), len(crops), Stopwatch())])
        sys.stdout.write(f"graphs refused: {engine.graphs_refused}\n")
    assert not {"torch", "triton", "diffusers"} & {*sys.modules}
    np.savez(made, **found)


if __name__ == "__main__":
    main()
