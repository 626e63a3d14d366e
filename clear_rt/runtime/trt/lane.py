"""A stream for work of one kind: one piece after the other, whoever asks for it, and graphs that are replayed on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

from clear_rt.runtime.slim.context import Context
from clear_rt.runtime.slim.graphs import Graphs, Work
from clear_rt.runtime.slim.stream import new_stream
from clear_rt.runtime.trt.failures import told


class Lane:
    """May be used by several threads, one of which waits for the other. Without `captures` work runs as it is."""

    def __init__(self, context: Context, *, captures: bool = True) -> None:
        self.stream = new_stream(context)
        self.graphs = Graphs(context)
        self._captures, self._one_at_a_time = captures, RLock()

    @contextmanager
    def at_work(self, what: object) -> Iterator[None]:
        """A stretch of work, which is done when it is left. Raises EngineError, which names `what`."""
        with told(what), self._one_at_a_time:
            yield
            self.stream.synchronize()

    def captured(self, work: Work, name: str) -> Work:
        """`Graphs.captured` on this stream; `work` runs once."""
        if self._captures:
            return self.graphs.captured(work, name, self.stream)
        work(self.stream)
        return work
