"""CUDA graphs: work that is always the same, launched at once instead of kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch

# Kernels are compiled and libraries choose their plans in the first call; the second one finds everything made.
_WARM_UPS = 2


class _Replay:
    """A graph and the function it was captured from, which holds the memory that the graph reads and writes."""

    def __init__(self, graph: torch.cuda.CUDAGraph, run: Callable[[], object]) -> None:
        self._graph, self._run = graph, run

    def __call__(self) -> None:
        self._graph.replay()


class Graphs:
    """Captures functions on one stream and into one pool of memory, which they share: replay them one after the other.

    What a function hands over must lie in memory that was there before, as another graph may use what this one
    allocates. Without a GPU functions run as they are.
    """

    def __init__(self, device: torch.device) -> None:
        self.is_capturing = device.type == "cuda"
        self.count = 0
        if self.is_capturing:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()

    def captured(self, run: Callable[[], object]) -> Callable[[], object]:
        """`run` as one launch; it is called several times before that, and leaves behind what these do.

        Raises what `run` raises.
        """
        if not self.is_capturing:
            return run
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                run()
        current.wait_stream(self._stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            run()
        self.count += 1
        return _Replay(graph, run)
