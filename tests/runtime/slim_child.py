"""What test_slim_gpu.py starts: the slim runtime on a GPU, in a process without torch and Triton.

    python -m tests.runtime.slim_child KERNELS GIVEN.npz MADE.npz

KERNELS is a folder as `conftest.kernels_folder`. Arrays of bf16 are uint16, named with _bf16 at the end.
"""

import json
import sys
from pathlib import Path

import numpy as np

from clear_rt.errors import EngineError
from clear_rt.manifest import Entry, Files
from clear_rt.runtime.slim.composite import Composite
from clear_rt.runtime.slim.context import open_context
from clear_rt.runtime.slim.graphs import Graphs
from clear_rt.runtime.slim.hold_overlap import fade_overlap, hold_overlap
from clear_rt.runtime.slim.interop import wrapped
from clear_rt.runtime.slim.kernel_files import read_kernels
from clear_rt.runtime.slim.kernels import LoadedKernels
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.slim.occlusion_attention import OcclusionAttention
from clear_rt.runtime.slim.planes import chroma_of
from clear_rt.runtime.slim.staging import Staged
from clear_rt.runtime.slim.stream import Event, new_stream
from clear_rt.runtime.slim.window_step import window_step
from clear_rt.runtime.slim.yuv_to_input import yuv_to_input
from tests.runtime.slim_cases import ALL_BITS, BOX, CROP, START

NAMES = {"uint8": "u8", "uint16": "u16", "float32": "fp32", "int64": "i64", "bool": "bool"}


class Device:
    """The context, one stream, and arrays that are there and back by name."""

    def __init__(self, folder, given):
        entry = json.loads((folder / "manifest.json").read_text())
        self.context = open_context()
        self.stream = new_stream(self.context)
        self.memory = Memory(self.context)
        self.kernels = LoadedKernels(read_kernels(Entry(entry, "manifest.json"), Files(folder)), self.context)
        self.kernels.load()
        self._given, self._staged = given, {}

    def __call__(self, name):
        """An array on the GPU of what was given under a name, the same one every time."""
        if name not in self._staged:
            self._put(name, self._given[name])
        return self._staged[name].device

    def _put(self, name, array):
        dtype = "bf16" if name.endswith("_bf16") else NAMES[array.dtype.name]
        self._staged[name] = Staged(self.memory, self.stream, array.shape, dtype)
        self._staged[name].fill(self.stream, array)

    def empty(self, name, shape, dtype):
        """One for a result."""
        self._staged[name] = Staged(self.memory, self.stream, shape, dtype)
        return self._staged[name].device

    def again(self, name):
        """What was given, once more."""
        self._staged[name].fill(self.stream, self._given[name])

    def made(self, name):
        """What the GPU has under a name now."""
        self._staged[name].fetch(self.stream)
        return self._staged[name].array().copy()


def latents(on):
    """A step, an overlap held and faded; then the same work as a graph, from the same latents."""
    at, sums, velocity, shares = (on(f"latents/{name}") for name in ("latents", "sums", "velocity_bf16", "shares"))
    opens, closes, change, step = (on(f"latents/{name}") for name in ("opens", "closes", "change", "step"))
    held, noise, sigmas, kept = (on(f"latents/{name}") for name in ("held", "noise", "sigmas", "kept"))

    def work(stream):
        window_step(on.kernels, stream, at, sums, velocity, START, shares, opens, closes, change, step)
        hold_overlap(on.kernels, stream, at, held, noise, sigmas, step)
        fade_overlap(on.kernels, stream, at, held, kept, kept)

    graphs = Graphs(on.context)
    graph = graphs.captured(work, "latents", on.stream)
    assert (graphs.count, graphs.refused) == (1, {}), graphs.refused
    found = {"eager": on.made("latents/latents"), "eager_sums": on.made("latents/sums")}
    for replay in ("first", "second"):
        on.again("latents/latents")
        on.again("latents/sums")
        begun, ended = Event(on.context, timed=True), Event(on.context, timed=True)
        begun.recorded(on.stream)
        graph(on.stream)
        ended.recorded(on.stream).synchronize()
        assert ended.milliseconds_since(begun) > 0
        found |= {replay: on.made("latents/latents"), f"{replay}_sums": on.made("latents/sums")}
    return {f"latents/{name}": array for name, array in found.items()}


def pictures(on, kind):
    """The input of a crop, and content composited, in samples of 8 or 16 bits."""
    names = ("luma", "chroma", "generated_bf16", "alpha", "to_rgb", "to_codes")
    luma, chroma, generated, alpha, to_rgb, to_codes = (on(f"{kind}/{name}") for name in names)
    planes = luma, *chroma_of(chroma)
    out = on.empty(f"{kind}/input", (3, CROP.height_px, CROP.width_px), "bf16")
    yuv_to_input(on.kernels, on.stream, *planes, to_rgb, CROP.x_px, CROP.y_px, out)
    found = {f"{kind}/input": on.made(f"{kind}/input")}
    paste = Composite(on.kernels, on.memory, on.stream, BOX)

    def work(stream):
        paste(stream, *planes, generated, alpha, to_codes, *ALL_BITS[kind])

    graphs = Graphs(on.context)
    graph = graphs.captured(work, kind, on.stream)
    assert graphs.count == 1, graphs.refused
    for name in ("luma", "chroma"):
        found[f"{kind}/eager_{name}"] = on.made(f"{kind}/{name}")
        on.again(f"{kind}/{name}")
    graph(on.stream)
    return found | {f"{kind}/{name}": on.made(f"{kind}/{name}") for name in ("luma", "chroma")}


def attention(on, kind):
    """Of one shape with a bias and without, and the log-sum."""
    q, k, v, bias = (on(f"{kind}/{name}") for name in ("q_bf16", "k_bf16", "v_bf16", "bias"))
    attend = OcclusionAttention(on.kernels, on.memory, on.stream)
    out, plain = (on.empty(f"{kind}/{name}", q.shape, "bf16") for name in ("out", "plain"))
    lse = on.empty(f"{kind}/lse", (q.shape[0], q.shape[2], q.shape[1]), "fp32")

    def work(stream):
        attend(stream, q, k, v, bias, out, lse)
        attend(stream, q, k, v, None, plain)

    graphs = Graphs(on.context)
    graphs.captured(work, kind, on.stream)(on.stream)
    assert graphs.count == 1, graphs.refused
    return {f"{kind}/{name}": on.made(f"{kind}/{name}") for name in ("out", "plain", "lse")}


def device(on):
    """Memory, the protocols among ourselves, and a capture that cannot be."""
    array = on.memory.zeros(on.stream, (5, 7), "fp32")
    assert on.memory.used_bytes >= array.size_bytes
    other = new_stream(on.context)
    for again in (wrapped(array, other), wrapped(Only(array, "__dlpack__", "__dlpack_device__"), other),
                  wrapped(Only(array, "__cuda_array_interface__"), other)):  # fmt: skip
        assert (again.pointer, again.shape, again.strides, again.dtype) == (array.pointer, (5, 7), (7, 1), "fp32")
    graphs = Graphs(on.context)
    graphs.captured(lambda stream: on.memory.empty(stream, (3,), "fp32"), "allocating", on.stream)(on.stream)
    assert graphs.count == 0
    assert "memory from before the capture" in graphs.refused["allocating"]
    assert "CUDA_ERROR_OUT_OF_MEMORY; use a smaller --region" in refusal(on, 1 << 40)
    on.stream.synchronize()


def refusal(on, count):
    """What is said of memory that there is not."""
    try:
        on.memory.empty(on.stream, (count,), "fp32")
    except EngineError as error:
        return str(error)
    return "there was enough"


class Only:
    """An array of which nothing but these attributes can be seen."""

    def __init__(self, array, *names):
        for name in names:
            setattr(self, name, getattr(array, name))

    def __getattr__(self, name):
        raise AttributeError(name)


def main():
    folder, given, made = map(Path, sys.argv[1:])
    with np.load(given) as arrays:
        on = Device(folder, dict(arrays))
    device(on)
    found = latents(on)
    for kind in ALL_BITS:
        found |= pictures(on, kind)
    for kind in ("blocks", "rows"):
        found |= attention(on, kind)
    on.stream.synchronize()
    assert not {"torch", "triton", "diffusers"} & {*sys.modules}
    np.savez(made, **found)


if __name__ == "__main__":
    main()
