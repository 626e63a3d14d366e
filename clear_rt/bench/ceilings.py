"""What this machine can do at best, measured in the same run: a large matrix product and a copy of a large block."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from clear_rt.bench.device import torch_on_gpu
from clear_rt.bench.onnx_product import product_of

RUNS = 5
CPU_COPY_BYTES, CPU_MATRIX_SIZE = 256 << 20, 2048
GPU_COPY_BYTES, GPU_MATRIX_SIZE = 1 << 30, 8192
# So that a call takes milliseconds, next to which launching it is nothing.
GPU_CALLS = 10
_FP8_CAPABILITY = (8, 9)


@dataclass(frozen=True, slots=True)
class Ceilings:
    """`matrix_tflops` by number format; a copy counts bytes read and bytes written."""

    device: str
    matrix_tflops: dict[str, float]
    copy_gb_per_s: float

    def matrix(self, precision: str) -> float | None:
        """TFLOP/s of a product in `precision`, or of the closest that was measured to what computes it; None if none.

        fp16 products are as fast as bf16; where fp8 has no figure of its own, it is compared with bf16.
        """
        names = {"fp32": ("fp32",), "fp8": ("fp8", "bf16")}.get(precision, ("bf16", "fp32"))
        return next((self.matrix_tflops[name] for name in names if name in self.matrix_tflops), None)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def ceilings() -> Ceilings:
    """Of the GPU where an engine uses one through torch, else of the CPU."""
    torch = torch_on_gpu()
    return ceilings_of_cpu() if torch is None else _of_gpu(torch)


def ceilings_of_cpu() -> Ceilings:
    """Of all cores, in fp32: the fastest of NumPy, NumPy on threads of our own (a variable may limit its own to one),
    and for products ONNX Runtime.
    """
    source = np.ones(CPU_COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    left = np.random.default_rng(0).standard_normal((CPU_MATRIX_SIZE, CPU_MATRIX_SIZE), np.float32)
    product = np.empty_like(left)
    cores = len(os.sched_getaffinity(0))
    copies = list(zip(np.array_split(target, cores), np.array_split(source, cores), strict=True))
    products = list(zip(np.array_split(left, cores), np.array_split(product, cores), strict=True))
    with ThreadPoolExecutor(cores) as pool:
        copy_s = min(
            _median_s(lambda: np.copyto(target, source)),
            _median_s(lambda: list(pool.map(lambda part: np.copyto(*part), copies))),
        )
        matrix_s = min(
            _median_s(product_of(CPU_MATRIX_SIZE)),
            _median_s(lambda: np.matmul(left, left, out=product)),
            _median_s(lambda: list(pool.map(lambda part: np.matmul(part[0], left, out=part[1]), products))),
        )
    return Ceilings("cpu", {"fp32": 2 * CPU_MATRIX_SIZE**3 / matrix_s / 1e12}, 2 * CPU_COPY_BYTES / copy_s / 1e9)


def _of_gpu(torch: Any) -> Ceilings:  # noqa: ANN401 - the module torch
    copy_gb_per_s = _gpu_copy_gb_per_s(torch)
    size = GPU_MATRIX_SIZE
    # Normal numbers: zeros run faster.
    left, right = (torch.randn(size, size, device="cuda") for _ in range(2))
    left16, right16 = left.bfloat16(), right.bfloat16()
    seconds = {"fp32": _gpu_s(torch, lambda: left @ right), "bf16": _gpu_s(torch, lambda: left16 @ right16)}
    if torch.cuda.get_device_capability() >= _FP8_CAPABILITY:
        one, e4m3 = torch.ones((), device="cuda"), torch.float8_e4m3fn
        left8, right8 = left.to(e4m3), right.to(e4m3).T.contiguous().T
        seconds["fp8"] = _gpu_s(
            torch,
            lambda: torch._scaled_mm(left8, right8, one, one, out_dtype=torch.bfloat16, use_fast_accum=True),
        )
    rates = {name: 2 * size**3 / s / 1e12 for name, s in seconds.items()}
    return Ceilings(torch.cuda.get_device_name(), rates, copy_gb_per_s)


def _gpu_copy_gb_per_s(torch: Any) -> float:  # noqa: ANN401 - the module torch
    source = torch.randint(256, (GPU_COPY_BYTES,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * GPU_COPY_BYTES / _gpu_s(torch, lambda: target.copy_(source)) / 1e9


def _median_s(call: Callable[[], object]) -> float:
    call()
    seconds = []
    for _ in range(RUNS):
        begun = perf_counter()
        call()
        seconds.append(perf_counter() - begun)
    return median(seconds)


def _gpu_s(torch: Any, call: Callable[[], object]) -> float:  # noqa: ANN401 - the module torch
    def calls() -> None:
        for _ in range(GPU_CALLS):
            call()
        torch.cuda.synchronize()

    return _median_s(calls) / GPU_CALLS
