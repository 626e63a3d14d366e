"""The generative model of a bundle: what it was made for, in which steps it runs, and the files it is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from clear_rt.errors import BundleError
from clear_rt.manifest import AGAIN, Entry, Files
from clear_rt.plans import PlansSpec, read_plans
from clear_rt.runtime.slim.kernel_files import KernelsSpec, read_kernels
from clear_rt.shapes import Size

ROLES = ("encoder_first", "encoder_next", "decoder_first", "decoder_next", "control", "step")
PARTS = ("dit", "vae")
PRECISIONS = ("fp32", "fp16", "bf16", "fp8")

LONGEST_SIDE_PX = 16384
# Rotary tables end there (models.rope).
LONGEST_WINDOW_LATENTS = 1024
MOST_STEPS = 1000
SHIFTS = (1e-3, 1e3)


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One ONNX graph: where it was read, the very bytes that were hashed, and its weights where they lie beside it."""

    path: Path
    graph: bytes = field(repr=False)
    data: Path | None


@dataclass(frozen=True, slots=True)
class StepTable:
    """Noise levels of a sampler, steps + 1 of them from <= 1 strictly down to 0, and the model's row of every step."""

    sigmas: tuple[float, ...]
    rows: tuple[int, ...]

    def change(self, step: int) -> np.float32:
        """sigma_next - sigma of a step, rounded once."""
        return np.float32(self.sigmas[step + 1] - self.sigmas[step])


@dataclass(frozen=True, slots=True)
class GeneratorSpec:
    """A generative model, bound to its prompt and to the numbers of steps it has a table for.

    A latent holds `latent_px` pixels each way and `latent_frames` frames, but the first of a run, which holds one.
    Regions are multiples of `multiple_px`, scaled down above `max_pixels`, and of one of the `profiles` if there are
    any. With `latents_fixed` every window has `window_latents`. With `draft` the control is not the crop but its draft
    (`clear_rt.draft`). `graphs` (by role) are for the engine onnx, `weights` and the configurations `models` (by part)
    for cuda, `plans` for trt; each is empty where the bundle lacks that engine's. `kernels` are what the slim runtime
    launches beside plans, None in bundles without.
    """

    latent_channels: int
    latent_px: int
    latent_frames: int
    multiple_px: int
    max_pixels: int
    profiles: tuple[Size, ...]
    window_latents: int
    overlap_latents: int
    latents_fixed: bool
    draft: bool
    step_tables: Mapping[int, StepTable]
    default_steps: int
    shift: float
    prompt: str
    precision: str
    parameters: int
    graphs: Mapping[str, GraphSpec]
    weights: Mapping[str, Path]
    models: Mapping[str, Any]
    plans: PlansSpec | None = None
    kernels: KernelsSpec | None = None


def read_generator(entry: Entry, files: Files, engines: tuple[str, ...]) -> GeneratorSpec:
    """The generator that a manifest describes, its files verified.

    Raises BundleError where a field is missing, of another type or out of range, or where a file that one of the
    `engines` needs is not named, missing or altered.
    """
    latent_px = entry.integer("latent_px", 1, 256)
    multiple_px = entry.take(
        "multiple_px",
        f"a multiple of {latent_px} up to 256",
        lambda v: type(v) is int and latent_px <= v <= 256 and v % latent_px == 0,
    )
    window_latents = entry.integer("window_latents", 1, LONGEST_WINDOW_LATENTS)
    tables = _step_tables(entry)
    return GeneratorSpec(
        latent_channels=entry.integer("latent_channels", 1, 1024),
        latent_px=latent_px,
        latent_frames=entry.integer("latent_frames", 1, 64),
        multiple_px=multiple_px,
        max_pixels=entry.integer("max_pixels", multiple_px**2, LONGEST_SIDE_PX**2),
        profiles=_profiles(entry, multiple_px),
        window_latents=window_latents,
        overlap_latents=entry.integer("overlap_latents", 0, window_latents - 1),
        latents_fixed=entry.flag("latents_fixed"),
        draft=entry.flag("draft"),
        step_tables=tables,
        default_steps=entry.take("default_steps", _one_of(tables), lambda v: type(v) is int and v in tables),
        shift=entry.number("shift", *SHIFTS),
        prompt=entry.text("prompt"),
        precision=entry.one_of("precision", PRECISIONS),
        parameters=entry.integer("parameters", 0, 10**12),
        graphs=_graphs(entry.entry("graphs"), files, required="onnx" in engines),
        weights=_weights(entry.entry("weights"), files, required="cuda" in engines),
        models=_models(entry.entry("models"), required="cuda" in engines),
        plans=_plans(entry, files, required="trt" in engines),
        kernels=read_kernels(entry.entry("kernels"), files) if "kernels" in entry.names() else None,
    )


def _profiles(entry: Entry, multiple_px: int) -> tuple[Size, ...]:
    def fits(value: object) -> bool:
        return isinstance(value, list) and all(
            isinstance(size, list)
            and len(size) == 2
            and all(type(px) is int and 0 < px <= LONGEST_SIDE_PX and px % multiple_px == 0 for px in size)
            for size in value
        )

    expected = f"a list of [width, height], multiples of {multiple_px} up to {LONGEST_SIDE_PX}"
    return tuple(Size(*size) for size in entry.take("profiles", expected, fits))


def _step_tables(entry: Entry) -> dict[int, StepTable]:
    rows = len(entry.numbers("timesteps", None, 0.0, 1000.0))
    tables = entry.entry("steps")
    if not tables.names():
        raise BundleError(f"{tables.where} is empty, expected a table for at least one number of steps; {AGAIN}")
    return {_count(tables, name): _step_table(tables.entry(name), int(name), rows) for name in tables.names()}


def _count(tables: Entry, name: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", name) or int(name) > MOST_STEPS:
        raise BundleError(f"{tables.where}: expected numbers of steps of 1 to {MOST_STEPS}, got {name!r}; {AGAIN}")
    return int(name)


def _step_table(entry: Entry, steps: int, rows: int) -> StepTable:
    sigmas = entry.numbers("sigmas", steps + 1, 0.0, 1.0)
    if sigmas[-1] != 0.0 or not all(sigma > later for sigma, later in pairwise(sigmas)):
        raise BundleError(f"{entry.where}: 'sigmas' must fall strictly, to 0 at the end, got {list(sigmas)}; {AGAIN}")
    return StepTable(sigmas, entry.integers("rows", steps, 0, rows - 1))


def _graphs(entry: Entry, files: Files, *, required: bool) -> dict[str, GraphSpec]:
    return {role: _graph(entry.entry(role), files) for role in entry.only(ROLES, ROLES if required else ())}


def _graph(entry: Entry, files: Files) -> GraphSpec:
    path, graph = files.read(entry)
    data = entry.entry_or_none("data")
    return GraphSpec(path, graph, None if data is None else files.check(data))


def _weights(entry: Entry, files: Files, *, required: bool) -> dict[str, Path]:
    return {part: files.check(entry.entry(part)) for part in entry.only(PARTS, PARTS if required else ())}


def _plans(entry: Entry, files: Files, *, required: bool) -> PlansSpec | None:
    return read_plans(entry.entry("plans"), files) if required else None


def _models(entry: Entry, *, required: bool) -> dict[str, Any]:
    parts = entry.only(PARTS, PARTS if required else ())
    return {part: entry.take(part, "a JSON object", lambda v: isinstance(v, dict)) for part in parts}


def _one_of(values: Mapping[int, Any]) -> str:
    return f"one of {', '.join(map(str, values))}"
