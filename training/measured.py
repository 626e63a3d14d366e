"""Writes into a bundle's manifest how well its fill did: python -m training.measured --bundle DIR ROWS.jsonl

ROWS.jsonl is what `python -m benchmarks.bench_fill` printed last, of all clips and looks; of several documents the last
counts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

GAIN, LOSS = "gain inside mask", "worst loss"
CLIPS = 6
LOOKS = ("outline", "random")


def measured(document: dict[str, Any]) -> dict[str, Any]:
    """For every look the mean gain over the membrane and the worst loss, in dB, and of what code they are.

    Raises SystemExit for figures of fewer clips or looks.
    """
    rows = {(row["case"], row["metric"]): row for row in document["rows"]}
    looks = {}
    for look in LOOKS:
        gain, loss = (rows.get((f"mean {look}", metric)) for metric in (GAIN, LOSS))
        if gain is None or loss is None or len(gain["detail"]["gains_db"]) != CLIPS:
            raise SystemExit(
                f"expected {CLIPS} clips with look {look}, found fewer; run benchmarks.bench_fill without options"
            )
        looks[look] = {"gain_db": round(gain["value"], 2), "worst_loss_db": round(loss["value"], 2)}
    return {"command": "python -m benchmarks.bench_fill", "commit": document["environment"]["commit"], "looks": looks}


def last_document(lines: Iterable[str]) -> dict[str, Any]:
    """Raises SystemExit where none of `lines` is a document of bench_fill."""
    found = [json.loads(line) for line in lines if line.startswith('{"benchmark": "fill"')]
    if not found:
        raise SystemExit("expected the last line of benchmarks.bench_fill, found no such document; run it first")
    return found[-1]


def write(bundle: Path, rows: Path) -> None:
    """Raises SystemExit where a file is missing, or the bundle's manifest says nothing of a generator's training."""
    path = bundle / "manifest.json"
    try:
        manifest, lines = json.loads(path.read_text()), rows.read_text().splitlines()
        notes = manifest["training"]["generator"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"expected a bundle of training.tiny in {bundle} and rows in {rows}: {error!r}") from None
    notes["measured"] = measured(last_document(lines))
    path.write_text(json.dumps(manifest, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    options = parser.parse_args()
    write(options.bundle, options.rows)


if __name__ == "__main__":
    main()
