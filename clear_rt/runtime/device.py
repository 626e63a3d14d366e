"""Which GPUs there are, found out without any GPU library of Python's."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_MAJOR, _MINOR = 75, 76
_NAME_BYTES = 256
_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class Gpu:
    """`capability`: 90 for compute capability 9.0. `cuda`: the newest CUDA that the driver runs, such as "13.0"."""

    name: str
    capability: int
    memory_bytes: int
    cuda: str
    driver: str


def gpu_count() -> int:
    """NVIDIA GPUs that the driver offers; 0 without a driver."""
    driver = _initialised()
    count = ctypes.c_int(0)
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def first_gpu() -> Gpu | None:
    """The GPU that work goes to, None without one."""
    driver = _initialised()
    if driver is None or not gpu_count():
        return None
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    memory_bytes, cuda = ctypes.c_size_t(), ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), 0)
    driver.cuDeviceGetName(name, _NAME_BYTES, device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory_bytes), device)
    driver.cuDriverGetVersion(ctypes.byref(cuda))
    major, minor = (_attribute(driver, number, device) for number in (_MAJOR, _MINOR))
    return Gpu(
        name=name.value.decode(errors="replace"),
        capability=10 * major + minor,
        memory_bytes=memory_bytes.value,
        cuda=f"{cuda.value // 1000}.{cuda.value % 1000 // 10}",
        driver=_driver_version(),
    )


@cache
def _initialised() -> ctypes.CDLL | None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def _attribute(driver: ctypes.CDLL, number: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(value), number, device)
    return value.value


def _driver_version() -> str:
    try:
        found = re.search(r"\d+\.\d+(\.\d+)?", _DRIVER.read_text())
    except OSError:
        found = None
    return found[0] if found else "unknown"
