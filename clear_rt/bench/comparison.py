"""Two documents side by side: how many times faster the second is, profile by profile and stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clear_rt.bench.document import Document, machine_of, read_document
from clear_rt.bench.tables import Grid, figure
from clear_rt.errors import InputError


def compare(a: Path, b: Path) -> str:
    """A table as text. Raises InputError where one is no document of a bench, or they have no profile in common."""
    return compared_text(read_document(a), read_document(b), str(a), str(b))


def compared_text(a: Document, b: Document, name_a: str, name_b: str) -> str:
    """As `compare`, of documents that were read."""
    if not _common(a, b):
        raise InputError(
            f"{name_a} and {name_b} have no profile in common: "
            f"{' and '.join(', '.join(profile['profile'] for profile in each['profiles']) for each in (a, b))}; "
            "measure one profile twice"
        )
    grid = Grid(
        f"a: {name_a}\nb: {name_b}\na / b is how many times faster b is, or how much less memory it takes",
        ("profile", "figure", "a", "b", "unit", "a / b"),
        [row for name, pair in _common(a, b).items() for row in _rows(name, *pair)],
        names=2,
    )
    return "\n".join([grid.as_text(), *_differences(a, b)])


def _common(a: Document, b: Document) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    others = {profile["profile"]: profile for profile in b["profiles"]}
    return {p["profile"]: (p, others[p["profile"]]) for p in a["profiles"] if p["profile"] in others}


def _rows(name: str, a: dict[str, Any], b: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for stage, times in a["stages"].items():
        if stage in b["stages"]:
            pair = (1000 * times["p50_s"], 1000 * b["stages"][stage]["p50_s"])
            yield _row(name, f"{stage} p50", *pair, "ms", pair[0] / pair[1])
    for label, part in (("network", "network"), ("end to end", "end_to_end")):
        pair_fps = (a[part].get("fps"), b[part].get("fps"))
        if None not in pair_fps:
            yield _row(name, label, *pair_fps, "fps", pair_fps[1] / pair_fps[0])
    for label, part in (("peak memory", "process_peak_bytes"), ("GPU peak memory", "gpu_peak_bytes")):
        found = [each["memory"].get(part) for each in (a, b)]
        if all(found):
            yield _row(name, label, found[0] / 1e6, found[1] / 1e6, "MB", found[0] / found[1])


def _row(name: str, label: str, a: float, b: float, unit: str, ratio: float) -> tuple[str, ...]:
    return name, label, figure(a, 4), figure(b, 4), unit, f"{ratio:.2f}"


def _differences(a: Document, b: Document) -> Iterator[str]:
    """What makes the two hard to compare."""
    names = [{profile["profile"] for profile in each["profiles"]} for each in (a, b)]
    for alone, where in ((names[0] - names[1], "a"), (names[1] - names[0], "b")):
        if alone:
            yield f"only in {where}: {', '.join(sorted(alone))}"
    for label, found in (
        ("machines", [machine_of(each) for each in (a, b)]),
        ("bundles", [each["bundle"].get("manifest_sha256") for each in (a, b)]),
        ("commits", [each["environment"].get("commit") for each in (a, b)]),
    ):
        if found[0] != found[1]:
            yield f"different {label}: {found[0]} and {found[1]}"
    for name, (first, second) in _common(a, b).items():
        differing = [key for key in ("size", "steps", "window") if first.get(key) != second.get(key)]
        if differing:
            yield f"{name}: different {', '.join(differing)}"
