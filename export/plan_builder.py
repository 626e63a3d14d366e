"""Builds one TensorRT engine, in a process of its own: a native library that fails may take its process with it.

    python -m clear_rt.export.plan_builder '<PlanOrder as JSON>'

Standard output is one JSON object a line: {"phase", "done", "total"} as it goes on, and last {"report"} or {"error"}.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from clear_rt.export.plan_order import Axes, PlanOrder, PlanReport, Profile

_BYTES = re.compile(r"Total (Activation|Weights) Memory: (\d+) bytes")


class BuildError(Exception):
    """In the words of the library."""


def main() -> int:
    try:
        said: dict[str, Any] = {"report": asdict(build(PlanOrder.from_json(sys.argv[1])))}
    except (BuildError, OSError, ValueError) as error:
        said = {"error": " ".join(str(error).split())[:400]}
    _say(said)
    return "error" in said


def _say(fields: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def build(order: PlanOrder) -> PlanReport:
    """Raises BuildError where the library refuses the graph or finds no engine for it, OSError from files."""
    trt = import_module(order.module)
    if order.has_plugins:
        from clear_rt.export.trt_plugin import register_plugin

        register_plugin(order.capability)
    begun = time.monotonic()
    logger = quiet_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(_flags(trt))
    _parse(trt, network, logger, order.graph)
    config = builder.create_builder_config()
    _configure(trt, config, order)
    for profile in order.profiles:
        config.add_optimization_profile(_profile(builder, network, profile))
    cache = _timing_cache(config, order.timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildError(logger.last)
    order.plan.write_bytes(plan)
    if cache is not None and order.timing_cache is not None:
        # Hours were spent on the engine: a cache that cannot be kept must not cost it.
        with suppress(OSError):
            _replace(order.timing_cache, cache.serialize())
    kinds = [str(network.get_layer(i).type).rpartition(".")[2] for i in range(network.num_layers)]
    return PlanReport(
        plan_bytes=plan.nbytes,
        weights_bytes=logger.bytes.get("Weights", 0),
        activation_bytes=logger.bytes.get("Activation", 0),
        attentions=kinds.count("ATTENTION_INPUT"),
        layers=len(kinds),
        seconds=time.monotonic() - begun,
        peak_bytes=_peak_bytes(),
    )


def _peak_bytes() -> int:
    """Of this program alone: getrusage counts what its parent had before it, too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1]) if found else 0


def _flags(trt: Any) -> int:  # noqa: ANN401
    """Strongly typed, which newer versions are without being told."""
    strongly = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if strongly is None else 1 << int(strongly)


def _parse(trt: Any, network: Any, logger: Any, graph: Path) -> None:  # noqa: ANN401
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        faults = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise BuildError(f"{graph.name}: {faults[0] if faults else 'cannot be parsed'}")


def _configure(trt: Any, config: Any, order: PlanOrder) -> None:  # noqa: ANN401
    config.progress_monitor = _monitor(trt)
    if order.level is not None:
        config.builder_optimization_level = order.level
    if order.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, order.workspace_bytes)
    if not order.is_here:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{order.capability}"), 0)


def _profile(builder: Any, network: Any, wanted: Profile) -> Any:  # noqa: ANN401
    profile = builder.create_optimization_profile()
    for tensor in (network.get_input(i) for i in range(network.num_inputs)):
        sizes = [_sizes(tensor, axes) for axes in (wanted.least, wanted.usual, wanted.most)]
        if -1 in tensor.shape:
            profile.set_shape(tensor.name, *sizes)
    return profile


def _sizes(tensor: Any, axes: Axes) -> list[int]:  # noqa: ANN401
    sizes = list(tensor.shape)
    return [axes.size_of(tensor.get_dimension_name(i)) if size == -1 else size for i, size in enumerate(sizes)]


def _timing_cache(config: Any, path: Path | None) -> Any:  # noqa: ANN401
    """What earlier builds measured; a cache of another GPU or version is begun anew."""
    if path is None:
        return None
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.partial-{os.getpid()}")
    beside.write_bytes(data)
    beside.replace(path)


def quiet_logger(trt: Any) -> Any:  # noqa: ANN401
    class Logger(trt.ILogger):
        """Keeps errors and what is said of memory, and prints nothing."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.bytes: dict[str, int] = {}

        @property
        def last(self) -> str:
            """The last error, on one line."""
            return " ".join(self.errors[-1].split())[:300] if self.errors else "it said nothing"

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)
            elif found := _BYTES.search(message):
                # Told of every profile, the largest of which comes first.
                self.bytes[found[1]] = max(int(found[2]), self.bytes.get(found[1], 0))

    return Logger()


def _monitor(trt: Any) -> Any:  # noqa: ANN401
    class Monitor(trt.IProgressMonitor):
        """Prints the steps of phases."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._totals: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._totals[phase] = steps

        def step_complete(self, phase: str, step: int) -> bool:
            _say({"phase": phase, "done": step + 1, "total": self._totals.get(phase, step + 1)})
            return True

        def phase_finish(self, phase: str) -> None:
            self._totals.pop(phase, None)

    return Monitor()


if __name__ == "__main__":
    sys.exit(main())
