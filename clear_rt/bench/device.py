"""The GPU as torch sees it, where some engine has loaded torch; nothing here loads it. And memory at its peak."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Resets the peak (proc(5)).
_RESET_PEAK = "5"


def torch_on_gpu() -> Any | None:  # noqa: ANN401 - the module torch
    """torch, where it is loaded and has work on a GPU already."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized() else None


def settle() -> Callable[[], None]:
    """A function that returns when all work given to the GPU is done; does nothing without one."""

    def wait() -> None:
        torch = torch_on_gpu()
        if torch is not None:
            torch.cuda.synchronize()

    return wait


def release() -> None:
    """Gives back to the GPU what nobody holds any more, so that the next part finds it."""
    gc.collect()
    torch = torch_on_gpu()
    if torch is not None:
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory was too small: that of the host, or by what torch said, which an engine's error came of."""
    torch = sys.modules.get("torch")
    kinds = (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__ or error.__context__
    return False


def reset_peaks() -> bool:
    """Starts a new peak of memory for this process and the GPU; False where the kernel does not let the first."""
    torch = torch_on_gpu()
    if torch is not None:
        torch.cuda.reset_peak_memory_stats()
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def peaks(*, since_reset: bool) -> dict[str, Any]:
    """Bytes of this process and, where torch uses one, of the GPU: allocated, and with what torch keeps for later."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE) if _STATUS.exists() else None
    torch = torch_on_gpu()
    return {
        "process_peak_bytes": int(found[1]) * 1024 if found else None,
        "process_peak_since": "part" if since_reset else "start",
        "gpu_peak_bytes": None if torch is None else int(torch.cuda.max_memory_allocated()),
        "gpu_reserved_bytes": None if torch is None else int(torch.cuda.max_memory_reserved()),
    }
