"""The JSON form of a bench: written by `run`, shown by `tables` and `chart`, read back for comparisons."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clear_rt.bench.environment import environment
from clear_rt.errors import InputError

if TYPE_CHECKING:
    from clear_rt.bundle import Bundle

BENCHMARK, FORMAT = "clear-rt bench", 1
Document = dict[str, Any]


def headed(bundle: Bundle, **parts: object) -> Document:
    """A document with what it was measured on, and `parts`."""
    return {
        "benchmark": BENCHMARK,
        "format": FORMAT,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "bundle": _identity(bundle),
        **parts,
    }


def _identity(bundle: Bundle) -> dict[str, Any]:
    """Name, engines, hash of the manifest, and the key of what it was made of where the manifest has one."""
    manifest = (bundle.folder / "manifest.json").read_bytes()
    return {
        "name": bundle.name,
        "engines": list(bundle.engines),
        "precision": None if bundle.generator is None else bundle.generator.precision,
        "parameters": None if bundle.generator is None else bundle.generator.parameters,
        "manifest_sha256": sha256(manifest).hexdigest(),
        "key": json.loads(manifest).get("key"),
        "built": dict(bundle.built),
    }


def machine_of(document: Document) -> str:
    """What ran the networks, by name: the GPU whose ceilings were measured, or the CPU."""
    found, device = document["environment"], document["ceilings"].get("device", "cpu")
    return str(device) if device != "cpu" else f"{found.get('cpu')}, {found.get('cores')} cores"


def as_text(document: Document) -> str:
    """JSON, one line feed at the end; raises ValueError for what JSON cannot hold, as NaN."""
    return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def read_document(path: Path) -> Document:
    """Raises InputError where the file cannot be read or is no document of this form."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is no JSON"
        raise InputError(f"{path} cannot be compared ({reason}); give a file of clear-rt bench --json") from None
    if not isinstance(found, dict) or found.get("benchmark") != BENCHMARK:
        raise InputError(f"{path} is no document of {BENCHMARK}; give a file of clear-rt bench --json")
    if found.get("format") != FORMAT:
        raise InputError(
            f"{path} has format {json.dumps(found.get('format'))[:40]}, this version compares format {FORMAT}; "
            "measure again with one version"
        )
    lacking = _lacking(found)
    if lacking:
        raise InputError(f"{path} is damaged: {lacking}; measure again")
    return found


def _lacking(found: Document) -> str | None:
    """What a comparison needs and does not find."""
    missing = [name for name in ("environment", "bundle", "ceilings") if not isinstance(found.get(name), dict)]
    if missing:
        return f"it lacks {' and '.join(map(repr, missing))}"
    profiles = found.get("profiles")
    if not isinstance(profiles, list) or not profiles:
        return "it has no 'profiles'"
    for profile in profiles:
        if not isinstance(profile, dict) or not isinstance(profile.get("profile"), str):
            return "a profile has no name"
        stages, network = profile.get("stages"), profile.get("network")
        if not isinstance(stages, dict) or not all(_has_number(stage, "p50_s") for stage in stages.values()):
            return f"profile {profile['profile']!r} lacks times of its stages"
        if not _has_number(network, "fps") or not all(
            isinstance(profile.get(part), dict) for part in ("end_to_end", "memory")
        ):
            return f"profile {profile['profile']!r} lacks 'network', 'end_to_end' or 'memory'"
    return None


def _has_number(entry: object, name: str) -> bool:
    value = entry.get(name) if isinstance(entry, dict) else None
    return isinstance(value, (int, float)) and value > 0
