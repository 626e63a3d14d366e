"""What this machine can do at best, measured: memory copies, matrix products, video decoding and encoding.

`python -m benchmarks.peaks [VIDEO]`. With OPENBLAS_CORETYPE or OPENBLAS_L2_SIZE set, the matrix product is no ceiling.
"""

from __future__ import annotations

import sys
import tempfile
from collections import deque
from contextlib import closing
from pathlib import Path

import numpy as np

from benchmarks.environment import ROOT
from benchmarks.measure import time_call
from benchmarks.report import Row, finish
from clear_rt.config import DEFAULT_CRF, WriteConfig
from clear_rt.frames import Writer, probe, read

COPY_BYTES = 256 << 20
MATRIX_SIZE = 2048


def memcpy_gb_per_s() -> float:
    """One core copying a block larger than any cache; bytes read and bytes written both count."""
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    return 2 * COPY_BYTES / time_call(lambda: np.copyto(target, source)).median_s / 1e9


def matmul_gflop_per_s() -> float:
    """All cores multiplying fp32 matrices in NumPy."""
    left = np.random.default_rng(0).standard_normal((MATRIX_SIZE, MATRIX_SIZE), np.float32)
    target = np.empty_like(left)
    return 2 * MATRIX_SIZE**3 / time_call(lambda: np.matmul(left, left, out=target)).median_s / 1e9


def decode_fps(video: Path, runs: int = 3) -> float:
    """Reading every frame and doing nothing with it."""

    def decode() -> None:
        with closing(read(video)) as frames:
            deque(frames, maxlen=0)

    return _frames(video) / time_call(decode, runs=runs).median_s


def encode_fps(video: Path, config: WriteConfig, runs: int = 3) -> float:
    """Writing frames that are decoded already."""
    info = probe(video)
    with closing(read(info)) as reader:
        frames = list(reader)

    def encode() -> None:
        with tempfile.TemporaryDirectory() as folder, Writer(info, Path(folder) / "peak.mp4", config) as writer:
            for frame in frames:
                writer.write(frame)

    return len(frames) / time_call(encode, runs=runs).median_s


def coding_fps(video: Path, config: WriteConfig, *, decodes: int, encodes: int) -> float:
    """Frames per second of a job that is nothing but so many decodings and encodings of a video, on all cores."""
    seconds_per_frame = decodes / decode_fps(video)
    if encodes:
        seconds_per_frame += encodes / encode_fps(video, config)
    return 1 / seconds_per_frame


def _frames(video: Path) -> int:
    with closing(read(video)) as frames:
        return sum(1 for _ in frames)


def main() -> None:
    video = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "samples" / "city-subtitled.mp4"
    info = probe(video)
    case = f"{video.name} {info.width_px}x{info.height_px}"
    figures = (
        ("memory", "copy", memcpy_gb_per_s(), "GB/s"),
        (f"{MATRIX_SIZE}x{MATRIX_SIZE} fp32", "matrix product", matmul_gflop_per_s(), "GFLOP/s"),
        (case, "decode", decode_fps(video), "fps"),
        (case, f"encode crf {DEFAULT_CRF}", encode_fps(video, WriteConfig()), "fps"),
    )
    finish(
        "peaks",
        [
            Row(case=case, metric=metric, value=value, unit=unit, bound=None, bound_name="is a ceiling")
            for case, metric, value, unit in figures
        ],
    )


if __name__ == "__main__":
    main()
