"""Writes into a bundle's manifest how well its fill did: python -m training.measured --bundle DIR ROWS.jsonl

ROWS.jsonl is what `python -m benchmarks.bench_fill` printed last; of several documents the last one counts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MEANT = ("gain inside mask", "worst loss")


def measured(document: dict[str, Any]) -> dict[str, Any]:
    """For every look the mean gain over the membrane and the worst loss, in dB, and of what code they are."""
    rows = [row for row in document["rows"] if row["case"].startswith("mean ") and row["metric"] in MEANT]
    looks: dict[str, dict[str, float]] = {}
    for row in rows:
        name = f"{row['metric'].replace(' ', '_')}_db"
        looks.setdefault(row["case"].removeprefix("mean "), {})[name] = round(row["value"], 2)
    return {"command": "python -m benchmarks.bench_fill", "commit": document["environment"]["commit"], "looks": looks}


def last_document(lines: Iterable[str]) -> dict[str, Any]:
    """Raises SystemExit where none of `lines` is a document of bench_fill."""
    found = [document for line in lines if line.startswith("{") and (document := json.loads(line))["rows"]]
    fills = [document for document in found if document["benchmark"] == "fill"]
    if not fills:
        raise SystemExit("expected the last line of benchmarks.bench_fill, found no such document; run it first")
    return fills[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    options = parser.parse_args()
    path = options.bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["training"]["generator"]["measured"] = measured(last_document(options.rows.read_text().splitlines()))
    path.write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
