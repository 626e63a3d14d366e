"""clear_rt: burned-in subtitles out of video, without masks.

    import clear_rt

    report = clear_rt.remove("in.mp4", "out.mp4")

Four names and no work at import: `remove`, `RunConfig` (its options), `Report` (what it did), `ClearError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clear_rt.version import __version__

if TYPE_CHECKING:
    from clear_rt.config import RunConfig
    from clear_rt.errors import ClearError
    from clear_rt.remover import remove
    from clear_rt.report import Report

__all__ = ["ClearError", "Report", "RunConfig", "__version__", "remove"]

_HOME = {"remove": "remover", "RunConfig": "config", "Report": "report", "ClearError": "errors"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each of the four names has a type of its own
    if name not in _HOME:
        raise AttributeError(f"module 'clear_rt' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"clear_rt.{_HOME[name]}"), name)
