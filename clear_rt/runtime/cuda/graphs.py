"""CUDA graphs: work that is always the same, launched at once instead of kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import NamedTuple

import torch

# Kernels are compiled and libraries choose their plans in the first call; the second one finds everything made.
_WARM_UPS = 2


class Played(NamedTuple):
    """One replay of a graph: its name, and events when the GPU began it and when it was done."""

    name: str
    begun: torch.cuda.Event
    ended: torch.cuda.Event


class _Replay:
    """A graph and the function it was captured from, which holds the memory that the graph reads and writes."""

    def __init__(self, owner: Graphs, graph: torch.cuda.CUDAGraph, run: Callable[[], object], name: str) -> None:
        self._owner, self._graph, self._run, self._name = owner, graph, run, name

    def __call__(self) -> None:
        if self._owner.played is None:
            self._graph.replay()
            return
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        played = Played(self._name, begun, ended)
        played.begun.record()
        self._graph.replay()
        played.ended.record()
        self._owner.played.append(played)


class Graphs:
    """Captures functions on one stream and into one pool of memory, which they share: replay them one after the other.

    What a function hands over must lie in memory that was there before, as another graph may use what this one
    allocates. Without a GPU functions run as they are. Every replay is noted in `played` where that is a list.
    `count` were captured so far, also those that are gone, and `reserved_bytes` were taken from the GPU for them.
    """

    played: list[Played] | None = None

    def __init__(self, device: torch.device) -> None:
        self.is_capturing = device.type == "cuda"
        self.count = self.reserved_bytes = 0
        self._quiet = Lock()
        if self.is_capturing:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Keeps capture off while another thread launches work on a stream of its own."""
        with self._quiet:
            yield

    def captured(self, run: Callable[[], object], name: str) -> Callable[[], object]:
        """`run` as one launch, known by a name; it is called several times before, and leaves behind what these do.

        Raises what `run` raises.
        """
        if not self.is_capturing:
            return run
        with self._quiet:
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UPS):
                    run()
            current.wait_stream(self._stream)
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            before_bytes, graph = torch.cuda.memory_reserved(), torch.cuda.CUDAGraph()
            # Other threads may pin memory meanwhile, which the default mode forbids them.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                run()
            self.count += 1
            self.reserved_bytes += max(0, torch.cuda.memory_reserved() - before_bytes)
        return _Replay(self, graph, run, name)
