"""What somebody wants to see of a run beside its result."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Watched(NamedTuple):
    """Where a picture of a few frames, a video side by side and a page of the whole run are to be written."""

    preview: Path | None = None
    compare: Path | None = None
    report: Path | None = None
