"""The chips that kernels are compiled for: which there are, what they hold, and which one a tensor lies on."""

from __future__ import annotations

from functools import cache

import torch
import triton
from torch import Tensor

from clear_rt.errors import EngineError

# Shared memory that one block may use, in bytes: CUDA programming guide, table of compute capabilities. Triton compiles
# kernels that ask for more without a word.
SHARED_BYTES = {80: 166_912, 86: 101_376, 89: 101_376, 90: 232_448, 100: 232_448, 120: 101_376}
CAPABILITIES = tuple(SHARED_BYTES)
FIRST_WITH_FP8 = 89
# The interpreter runs on CPU tensors; it takes the tiles of the oldest chip.
INTERPRETED = bool(triton.knobs.runtime.interpret)


def capability_of(tensor: Tensor) -> int:
    """Compute capability of the GPU that holds a tensor, 90 for an H100.

    Raises EngineError where it is on no GPU, unless kernels run in Triton's interpreter, or not on the current one, on
    which and on whose stream Triton launches.
    """
    if tensor.is_cuda:
        if tensor.device.index != (current := torch.cuda.current_device()):
            raise EngineError(
                f"expected tensors on the current GPU, cuda:{current}, got them on {tensor.device}; "
                "call inside torch.cuda.device of theirs"
            )
        return _of_device(tensor.device.index)
    if INTERPRETED:
        return CAPABILITIES[0]
    raise EngineError(
        f"expected tensors on an NVIDIA GPU, got them on {tensor.device}; choose --kernels torch, or "
        "set TRITON_INTERPRET=1 to try a kernel without a GPU"
    )


def has_fp8(capability: int) -> bool:
    """Whether a chip multiplies and converts E4M3."""
    return capability >= FIRST_WITH_FP8


def require_fp8(op: str, tensor: Tensor) -> None:
    """Raises EngineError where a tensor lies on a GPU without FP8."""
    if tensor.is_cuda and not has_fp8(found := capability_of(tensor)):
        raise EngineError(f"{op}: FP8 needs a GPU of compute capability 8.9 or newer, this one is sm_{found}; use bf16")


@cache
def _of_device(index: int) -> int:
    major, minor = torch.cuda.get_device_capability(index)
    return 10 * major + minor
