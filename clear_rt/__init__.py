"""clear_rt: burned-in subtitles out of video, without masks.

    import clear_rt

    report = clear_rt.remove("in.mp4", "out.mp4")
    for frame in clear_rt.clean_frames("in.mp4"): ...
    cleaned = list(clear_rt.clean_arrays(pictures, rate=25))
    texts = clear_rt.detect("in.mp4").texts

No work at import. `RunConfig` are the options of all of them, `Report` is what `remove` did, `ClearError` what any of
them raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clear_rt.version import __version__

if TYPE_CHECKING:
    from clear_rt.config import RunConfig
    from clear_rt.detection import detect
    from clear_rt.errors import ClearError
    from clear_rt.iterate import clean_arrays, clean_frames
    from clear_rt.remover import remove
    from clear_rt.report import Report

__all__ = ["ClearError", "Report", "RunConfig", "__version__", "clean_arrays", "clean_frames", "detect", "remove"]

_HOME = {
    "remove": "remover",
    "clean_frames": "iterate",
    "clean_arrays": "iterate",
    "detect": "detection",
    "RunConfig": "config",
    "Report": "report",
    "ClearError": "errors",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each of the names has a type of its own
    if name not in _HOME:
        raise AttributeError(f"module 'clear_rt' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"clear_rt.{_HOME[name]}"), name)
