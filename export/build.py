"""`clear-rt build-engine`: a bundle that is there already is left, one of something else is not replaced unasked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clear_rt.bundle import FORMAT
from clear_rt.errors import OutputError
from clear_rt.export.build_config import BuildConfig
from clear_rt.export.bundle import export
from clear_rt.export.checked import checked_weights
from clear_rt.export.chip import plan_config
from clear_rt.export.config import ExportConfig
from clear_rt.export.file_digests import digest
from clear_rt.export.folder import file_entries
from clear_rt.export.key import Key, bundle_key, differing, short
from clear_rt.export.plans import PlanConfig
from clear_rt.export.room import require_room
from clear_rt.models.sources import weights_source


@dataclass(frozen=True, slots=True)
class Built:
    """`was_there` where nothing had to be made."""

    manifest: dict[str, Any]
    was_there: bool

    def prose(self, output: Path) -> str:
        if self.was_there:
            return f"{output}: made of the same already, left as it is (--rebuild makes it again)"
        generator = self.manifest["generator"]
        said = (
            f"{output}: bundle for {', '.join(self.manifest['engines'])}, "
            f"{generator['parameters'] / 1e6:.1f} M parameters, windows of {generator['window_latents']} latents with "
            f"{generator['overlap_latents']} shared, {', '.join(generator['steps'])} steps"
        )
        verified = [f"{name}: {found}" for name, found in self.manifest.get("verified", {}).items()]
        return "\n".join([said, *verified])


def build_bundle(
    weights: str,
    target: Path,
    config: ExportConfig,
    build: BuildConfig,
    tell: Callable[[str], None] = lambda stage: None,
) -> Built:
    """The bundle that `export` makes, unless it is there already.

    Raises what `export`, `plan_config` and `require_room` raise, and OutputError where another bundle is in its place,
    with what differs.
    """
    plans, folder = plan_config(config, build), weights_source(weights)
    checked = checked_weights(folder, config)
    key = bundle_key(checked, config, plans)
    if not build.rebuild and (there := manifest_of(target)) is not None:
        _require_same(key, there.get("key"), target)
        if not build.verify or _is_verified(there, plans):
            return Built(there, was_there=True)
    require_room(target, checked, config, plans)
    manifest = export(folder, target, config, tell, plans=plans, key=key, checked=checked, verify=build.verify)
    return Built(manifest, was_there=False)


def manifest_of(target: Path) -> dict[str, Any] | None:
    """The manifest of a bundle in that place that this version can open, None where there is none."""
    try:
        manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
        whole = isinstance(manifest, dict) and manifest.get("format") == FORMAT
        return manifest if whole and all(_is_there(target, entry) for entry in file_entries(manifest)) else None
    except (OSError, ValueError, RecursionError):
        return None


def _is_there(folder: Path, entry: Mapping[str, Any]) -> bool:
    path = folder / entry["file"]
    return path.parent == folder and path.is_file() and digest(path) == entry.get("sha256")


def _is_verified(manifest: Mapping[str, Any], plans: PlanConfig | None) -> bool:
    """Whether verifying could tell no more than the manifest says."""
    verified = manifest.get("verified")
    if not isinstance(verified, dict):
        return False
    return plans is None or not plans.is_here or not str(verified.get("trt")).startswith("unverified")


def _require_same(key: Key, found: Any, target: Path) -> None:  # noqa: ANN401 - any JSON
    fields = differing(key, found) if isinstance(found, dict) else []
    if isinstance(found, dict) and not fields:
        return
    said = [f"{name} ({short(found.get(name))} there, {short(key.get(name))} asked for)" for name in fields]
    reason = ", ".join(said) or "it does not say what it was made of"
    raise OutputError(
        f"{target} is a bundle made of something else: {reason}; give --rebuild to replace it, or another -o"
    )
