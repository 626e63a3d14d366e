"""What makes an encoder give the same packets for the same pictures on every run: resumed results rely on it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_CPU = Path("/proc/cpuinfo")


@cache
def x264_instructions() -> dict[str, str]:
    """x264's options: on Linux all instructions but AVX-512 where the processor has them, nothing elsewhere.

    Its AVX-512 code, on an AMD EPYC with avx512_bf16, gives other packets in every second to tenth run of the same 100
    pictures, also on one thread (as PyAV 18.1 ships it; only with macroblock trees and B-frames). Without it the same
    encoding takes as long: 0.71 s against 0.74 s.
    """
    return {"x264-params": "asm=FMA3,BMI2,AVX2"} if has_avx512(_CPU) else {}


def has_avx512(told: Path) -> bool:
    """By the flags of a file like /proc/cpuinfo; False where there is none."""
    try:
        lines = told.read_text().splitlines()
    except OSError:
        return False
    return any("avx512f" in line.split() for line in lines if line.startswith("flags"))
