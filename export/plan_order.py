"""What is asked of TensorRT: one graph, the sizes it is built for, and what comes back. No library is imported here."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_TERM = re.compile(r"(?:(\d+)\*)?(\w+)")


@dataclass(frozen=True, slots=True)
class Axes:
    """Sizes of the open axes of our graphs: rows and columns of patches or of other blocks, and latents in time."""

    rows: int
    columns: int
    latents: int = 1

    def size_of(self, axis: str) -> int:
        """The length of an axis by its name in a graph, such as "2*rows"; any other name means tokens.

        Raises ValueError for a name that is no name.
        """
        term = _TERM.fullmatch(axis)
        if term is None:
            raise ValueError(f"expected an axis like rows or 2*rows, got {axis!r}")
        sizes = {"latents": self.latents, "rows": self.rows, "columns": self.columns}
        return int(term[1] or 1) * sizes.get(term[2], self.latents * self.rows * self.columns)


@dataclass(frozen=True, slots=True)
class Profile:
    """Sizes that an engine takes, and those that it is made fast for."""

    least: Axes
    usual: Axes
    most: Axes

    @classmethod
    def static(cls, axes: Axes) -> Profile:
        return cls(axes, axes, axes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOrder:
    """An engine to be built from `graph`, an ONNX file, into `plan`.

    `capability` is that of the GPU to build for, such as 89; `is_here` if it is this machine's. `has_plugins`: the
    graph holds nodes of ours. `level` 0 to 5 is how
    long the builder searches, None what the library does by itself. `timing_cache` is read if it is there, and written.
    """

    module: str
    graph: Path
    plan: Path
    profiles: Sequence[Profile]
    capability: int
    is_here: bool
    has_plugins: bool = False
    level: int | None = None
    workspace_bytes: int | None = None
    timing_cache: Path | None = None

    def as_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> PlanOrder:
        fields = json.loads(text)
        for name in ("graph", "plan", "timing_cache"):
            fields[name] = None if fields[name] is None else Path(fields[name])
        fields["profiles"] = [
            Profile(**{name: Axes(**axes) for name, axes in profile.items()}) for profile in fields["profiles"]
        ]
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What an engine is: bytes of its file, of its weights, and of what it needs beside inputs and outputs while it
    runs; attention that survived the parse as nodes; how long it took to build, with how much memory of the process.
    """

    plan_bytes: int
    weights_bytes: int
    activation_bytes: int
    attentions: int
    layers: int
    seconds: float
    peak_bytes: int
