"""The networks of a bundle as TensorRT engines: graphs of their own, in halves, each built for every profile."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch

from clear_rt.export.config import PATCH_PX, Precision
from clear_rt.export.plan_order import Axes, PlanOrder, PlanReport, Profile
from clear_rt.export.stored import file_entry, save_graph
from clear_rt.export.to_engine import Progress, build_plan
from clear_rt.runtime.trt_library import Library
from clear_rt.shapes import LONGEST_SIDE_RATIO, Size, round_up

Graphs = Mapping[str, torch.onnx.ONNXProgram]
Tell = Callable[[str], None]

HALVES: Mapping[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.bfloat16}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanConfig:
    """Whom engines are built for and how: `capability` of the GPU, `is_here` if it is in this machine.

    Our own kernels are compiled for that GPU, and for those of `more_capabilities`.
    """

    library: Library
    capability: int
    is_here: bool
    level: int | None = None
    workspace_bytes: int | None = None
    timing_cache: Path | None = None
    more_capabilities: tuple[int, ...] = ()


class PlanSet:
    """Engines of one bundle, written into its folder one after another. `entries` and `reports` are by role."""

    def __init__(
        self,
        folder: Path,
        sizes: Sequence[Size],
        window_latents: int,
        plans: PlanConfig,
        tell: Tell = lambda stage: None,
    ) -> None:
        self._folder, self._plans, self._tell = folder, plans, tell
        windows = [window_axes(size, window_latents) for size in sizes]
        self._profiles = [Profile.static(axes) for axes in windows]
        # Of a single profile: graphs with no other size are traced in a fraction of the time.
        self.only_axes = windows[0] if len(windows) == 1 else None
        self.can_plug = not plans.library.is_rtx
        self.entries: dict[str, dict[str, Any]] = {}
        self.reports: dict[str, PlanReport] = {}

    def add(self, graphs: Graphs, *, has_plugins: bool = False) -> None:
        """Raises EngineError where an engine cannot be built."""
        for role, program in graphs.items():
            with tempfile.TemporaryDirectory(prefix=".graph-", dir=self._folder.parent) as scratch:
                path = Path(scratch) / f"{role}.onnx"
                save_graph(program, path)
                self._build(role, path, self._profiles, has_plugins)

    def add_prior(self, graph: Path, short_side_px: int, multiple_px: int) -> None:
        """The occlusion prior as its bundle has it, in float32, for working pictures of any aspect up to 4:1."""
        short = round_up(short_side_px, multiple_px) // multiple_px
        square, long = Axes(short, short), LONGEST_SIDE_RATIO * short
        wide = Profile(square, Axes(short, 16 * short // 9), Axes(short, long))
        tall = Profile(square, Axes(16 * short // 9, short), Axes(long, short))
        with tempfile.TemporaryDirectory(prefix=".graph-", dir=self._folder.parent) as scratch:
            path = Path(scratch) / graph.name
            _take_floats(graph, path)
            self._build("prior", path, [wide, tall])

    def _build(self, role: str, graph: Path, profiles: Sequence[Profile], has_plugins: bool = False) -> None:
        plan, plans = self._folder / f"{role}.plan", self._plans
        order = PlanOrder(
            module=plans.library.module,
            graph=graph,
            plan=plan,
            profiles=profiles,
            capability=plans.capability,
            is_here=plans.is_here,
            has_plugins=has_plugins,
            level=plans.level,
            workspace_bytes=plans.workspace_bytes,
            timing_cache=plans.timing_cache,
        )
        self._tell(f"engine {role}")
        self.reports[role] = build_plan(order, self._progress(role))
        self.entries[role] = file_entry(plan) | {"activation_bytes": self.reports[role].activation_bytes}

    def _progress(self, role: str) -> Progress:
        return lambda phase, done, total: self._tell(f"engine {role}: {phase} {done}/{total}")


def _take_floats(graph: Path, path: Path) -> None:
    """The graph with a float32 input in place of uint8, which TensorRT would want cast before anything else."""
    model = onnx.load(graph)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    del model.graph.value_info[:]
    onnx.save(model, path)


def window_axes(size: Size, window_latents: int) -> Axes:
    """A window of a region of `size`, in patches."""
    return Axes(size.height_px // PATCH_PX, size.width_px // PATCH_PX, window_latents)
