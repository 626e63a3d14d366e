"""What all tests share: the mark `gpu`, and where the repository is."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _gpu_count() -> int:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and _gpu_count() == 0:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU: the CUDA driver is missing or finds none"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's folder."""
    return ROOT


@pytest.fixture(scope="session")
def subtitled(root: Path) -> Path:
    """Four seconds of real video with two captions and a tone (samples/README.md)."""
    return root / "samples" / "city-subtitled.mp4"


@pytest.fixture(scope="session")
def clean(root: Path) -> Path:
    """The same four seconds without captions."""
    return root / "samples" / "city-clean.mp4"
