"""Whether there is a GPU, found out without any GPU library of Python's."""

from __future__ import annotations

import ctypes


def gpu_count() -> int:
    """NVIDIA GPUs that the driver offers; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0
