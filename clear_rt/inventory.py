"""What `clear-rt info` says: the machine, the bundle, and a video if one is given."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clear_rt.bundle import open_bundle
from clear_rt.version import __version__

_RUNTIME = ("numpy", "onnxruntime", "av")
_OPTIONAL = ("torch", "triton", "tensorrt", "tensorrt_rtx", "pycuda", "PIL", "rapidocr_onnxruntime")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _machine() -> dict[str, Any]:
    found = {"clear_rt": __version__, "python": platform.python_version(), "cores": os.cpu_count()}
    found |= {package: _version(package) for package in _RUNTIME}
    return found | {"optional": ", ".join(name for name in _OPTIONAL if find_spec(name)) or "none"}


def _bundle(folder: Path | None) -> dict[str, Any]:
    bundle = open_bundle(folder)
    return {
        "name": bundle.name,
        "folder": str(bundle.folder),
        "engines": ", ".join(bundle.engines),
        "prior": f"{bundle.prior.parameters / 1e6:.2f} M parameters, short side {bundle.prior.short_side_px} px",
        "generator": "none: --fill membrane only",
        "megabytes": round(bundle.bytes_total / 1e6, 2),
    }


def _video(path: Path) -> dict[str, Any]:
    from clear_rt.frames import probe

    info = probe(path)
    return {
        "container": info.container,
        "codec": info.codec,
        "picture": f"{info.width_px}x{info.height_px} {info.pixel_format}, {info.bit_depth} bit",
        "rotation_degrees": info.rotation_degrees,
        "rate": f"{float(info.rate):.3f} fps, {'variable' if info.is_vfr else 'constant'}",
        "interlaced": info.is_interlaced,
        "duration_s": None if info.duration_us is None else round(info.duration_us / 1e6, 3),
        "frames_estimate": info.frames_estimate,
        "other_streams": ", ".join(f"{s.type} ({s.codec})" for s in info.other_streams) or "none",
    }


def inventory(video: Path | None, bundle: Path | None) -> dict[str, dict[str, Any]]:
    """Headings and facts, only JSON types. Raises what `open_bundle` and `probe` raise."""
    facts = {"machine": _machine(), "bundle": _bundle(bundle)}
    return facts | ({"video": _video(video)} if video is not None else {})
