"""ONNX graphs to TensorRT engines, each built in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import IO, Any

from clear_rt.errors import EngineError
from clear_rt.export.plan_order import PlanOrder, PlanReport

# Called with a phase of the builder in its own words, and how many of its steps are done of how many.
Progress = Callable[[str, int, int], None]


def build_plan(order: PlanOrder, progress: Progress = lambda phase, done, total: None) -> PlanReport:
    """The engine `order.plan`, written.

    Raises EngineError where the library refuses the graph, finds no engine, or takes its process with it.
    """
    command = [sys.executable, "-m", "clear_rt.export.plan_builder", order.as_json()]
    with tempfile.TemporaryFile("w+") as complaints:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True)
        try:
            assert child.stdout is not None
            said = _followed(child.stdout, progress)
            status = child.wait()
        except BaseException:
            child.kill()
            child.wait()
            raise
        finally:
            if child.stdout is not None:
                child.stdout.close()
        if "report" in said:
            return PlanReport(**said["report"])
        raise _failure(order, said.get("error") or _last_line(complaints), status)


def _followed(lines: IO[str], progress: Progress) -> dict[str, Any]:
    """The last thing that is said; what comes before it goes to `progress`."""
    last: dict[str, Any] = {}
    for line in lines:
        if not line.startswith("{"):
            continue
        last = json.loads(line)
        if "phase" in last:
            progress(last["phase"], last["done"], last["total"])
    return last


def _failure(order: PlanOrder, reason: str, status: int) -> EngineError:
    killed = f"its process ended with {status}; " if status < 0 else ""
    remedy = "use --engine cuda or onnx, or another precision"
    if "memory" in reason.lower() or status == -9:
        remedy = "free some memory or lower --workspace"
    elif "No space" in reason:
        remedy = "free some disk space"
    return EngineError(
        f"{order.module} built no engine of {order.graph.name} for sm_{order.capability} ({killed}{reason}); {remedy}"
    )


def _last_line(complaints: IO[str]) -> str:
    complaints.seek(0)
    lines = complaints.read().strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
