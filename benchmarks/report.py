"""Rows of figures, each beside its bound: printed as a table, and as one JSON document on the last line.

`python -m benchmarks.report FILE.jsonl` prints the table of stored documents.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.environment import environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `bound` is what the machine or the task allows at best, in the same unit; `bound_name` says which."""

    case: str
    metric: str
    value: float
    unit: str
    bound: float | None
    bound_name: str
    detail: dict[str, Any] = field(default_factory=dict)


def lines(benchmark: str, rows: Iterable[Row]) -> list[str]:
    """One line of text per row."""
    return [_line(benchmark, row) for row in rows]


def _line(benchmark: str, row: Row) -> str:
    figure = f"{benchmark:<8} {row.case:<28} {row.metric:<18} {row.value:10.2f} {row.unit:<8}"
    if row.bound is None:
        return f"{figure} | {row.bound_name}"
    return f"{figure} | {row.bound_name} {row.bound:.2f} {row.unit} ({row.value / row.bound:.0%})"


def print_stages(row: Row, said: str) -> None:
    """Milliseconds per frame of every stage in a row's detail; stages on different threads overlap."""
    print(f"{row.case}: {said}")
    for stage, seconds in sorted(row.detail["stage_seconds"].items(), key=lambda item: -item[1]):
        print(f"  {stage:<16} {1000 * seconds / row.detail['frames']:8.2f} ms/frame")


def finish(benchmark: str, rows: Sequence[Row]) -> None:
    """Print the table, then the document that gpu_gate.sh keeps."""
    for line in lines(benchmark, rows):
        print(line)
    document = {
        "benchmark": benchmark,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "rows": [asdict(row) for row in rows],
    }
    print(json.dumps(document, ensure_ascii=False))


def main() -> None:
    for text in Path(sys.argv[1]).read_text().splitlines():
        document = json.loads(text)
        for line in lines(document["benchmark"], (Row(**row) for row in document["rows"])):
            print(line)


if __name__ == "__main__":
    main()
