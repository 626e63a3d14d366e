"""The remover's kernels inside a program of pycuda's: its context, its stream, its memory, and not one copy.

    python docs/examples/pycuda_embedding.py BUNDLE

BUNDLE is a folder of `clear-rt build-engine --engine trt` for this GPU; its kernels were compiled then, so that neither
torch nor Triton is needed. The program has a picture in NV12 on the GPU, as a decoder leaves it. A crop of it becomes
what the model takes; where the model would run, the program itself writes grey, by a call of pycuda's into the same
memory; the result goes back into the picture under a matte. Needs pip install 'clear-rt[cuda,pycuda]'.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pycuda.driver as cuda
from pycuda.gpuarray import GPUArray, to_gpu

from clear_rt.bundle import open_bundle
from clear_rt.colour import input_matrix, output_matrix
from clear_rt.runtime.slim.composite import Composite
from clear_rt.runtime.slim.context import open_context
from clear_rt.runtime.slim.interop import wrapped
from clear_rt.runtime.slim.kernel_files import KernelsSpec
from clear_rt.runtime.slim.kernels import LoadedKernels
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.slim.planes import chroma_of
from clear_rt.runtime.slim.stream import wrapped_stream
from clear_rt.runtime.slim.yuv_to_input import yuv_to_input
from clear_rt.shapes import Box

BOX = Box(160, 560, 640, 96)
# Weights of red and blue in the luma of BT.709, in codes of 8 bits that are limited to 16..235.
COLOURS = {"bits": 8, "red": 0.2126, "blue": 0.0722, "full_range": False}


def grey_out(
    luma: GPUArray, chroma: GPUArray, kernels: KernelsSpec, own: cuda.Context, stream: cuda.Stream
) -> GPUArray:
    """Greys BOX out in the picture, luma uint8 [H, W] and chroma uint8 [H / 2, W / 2, 2], and returns what was there.

    That is bfloat16 [3, height, width] as uint16, in memory of ours. The work runs on `stream`, and is done.
    """
    context = open_context(own)
    ours = wrapped_stream(context, stream)
    loaded, memory = LoadedKernels(kernels, context), Memory(context)
    y, (cb, cr) = wrapped(luma, ours), chroma_of(wrapped(chroma, ours))

    to_rgb = to_gpu(input_matrix(**COLOURS).astype(np.float32))
    seen = memory.empty(ours, (3, BOX.height_px, BOX.width_px), "bf16")
    yuv_to_input(loaded, ours, y, cb, cr, wrapped(to_rgb, ours), BOX.x_px, BOX.y_px, seen)

    # Zeros are grey in -1..1. pycuda allocates and writes, the kernel below reads: all of it on one stream.
    generated = cuda.mem_alloc(seen.size_bytes)
    cuda.memset_d16_async(generated, 0, seen.size, stream)
    matte = to_gpu(np.full((BOX.height_px, BOX.width_px), 255, np.uint8))
    to_codes = to_gpu(output_matrix(**COLOURS).astype(np.float32))
    content = wrapped(generated, ours, shape=seen.shape, dtype="bf16")
    paste = Composite(loaded, memory, ours, BOX)
    paste(ours, y, cb, cr, content, wrapped(matte, ours), wrapped(to_codes, ours), bits=8, shift=0)
    # Python frees what this function allocated; the GPU may not have begun by then.
    stream.synchronize()
    return GPUArray(seen.shape, np.uint16, gpudata=seen.gpudata, base=seen)


def main() -> None:
    generator = open_bundle(Path(sys.argv[1])).generator
    if generator is None or generator.kernels is None:
        sys.exit(f"{sys.argv[1]} holds no compiled kernels; build it by clear-rt build-engine --engine trt")
    cuda.init()
    own = cuda.Device(0).make_context()
    try:
        stream = cuda.Stream()
        noise = np.random.default_rng(0)
        pictures = [noise.integers(16, 236, shape, np.uint8) for shape in ((720, 1280), (360, 640, 2))]
        luma, chroma = map(to_gpu, pictures)
        before = grey_out(luma, chroma, generator.kernels, own, stream)
        changed = int((luma.get() != pictures[0]).sum())
        sys.stdout.write(f"{changed} of {luma.size} samples of luma changed; the crop was {before.shape}\n")
        del before, luma, chroma
    finally:
        own.pop()
        own.detach()


if __name__ == "__main__":
    main()
