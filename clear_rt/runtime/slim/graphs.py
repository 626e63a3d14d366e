"""CUDA graphs: work that is always the same, launched at once instead of kernel by kernel."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from contextlib import suppress

from clear_rt.errors import EngineError
from clear_rt.runtime.slim.context import Context
from clear_rt.runtime.slim.driver import api, call
from clear_rt.runtime.slim.stream import Stream, new_stream

Work = Callable[[Stream], object]

_log = logging.getLogger(__name__)


class Replay:
    """Captured work: called, it runs again on the same memory. It holds the work, and by that the memory."""

    def __init__(self, context: Context, executable: int, work: Work, name: str) -> None:
        self.name, self._context, self._executable, self._work = name, context, executable, work
        weakref.finalize(self, _destroy, context, executable)

    def __call__(self, stream: Stream) -> None:
        with self._context.current():
            call("cuGraphLaunch", self._executable, stream.handle)


class Graphs:
    """Captures work of one context. `count` says how many graphs there are, `refused` why others run as they are."""

    def __init__(self, context: Context) -> None:
        self._context, self._stream = context, new_stream(context)
        self.count = 0
        self.refused: dict[str, str] = {}

    def captured(self, work: Work, name: str, stream: Stream) -> Work:
        """`work`, which launches on the stream that it is given and nowhere else, as one launch on any stream.

        It runs once on `stream` before, and leaves behind what that does. Memory has to be made before, too. Where it
        cannot be captured, the result is `work` itself; `refused` says why, and so does the log, once for every name.
        Raises what `work` raises when it runs.
        """
        work(stream)
        stream.synchronize()
        try:
            executable = self._executable(work)
        except EngineError as error:
            if name not in self.refused:
                _log.warning("%s runs without a graph: %s", name, error)
            self.refused[name] = str(error)
            return work
        self.count += 1
        return Replay(self._context, executable, work, name)

    def _executable(self, work: Work) -> int:
        own = self._stream
        with self._context.current():
            # Other threads, such as a caller's, go on as they like meanwhile.
            mode = api().CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
            call("cuStreamBeginCapture", own.handle, mode)
            own.is_capturing = True
            try:
                work(own)
            except BaseException:
                with suppress(EngineError):
                    call("cuGraphDestroy", call("cuStreamEndCapture", own.handle))
                raise
            finally:
                own.is_capturing = False
            graph = call("cuStreamEndCapture", own.handle)
            try:
                return int(call("cuGraphInstantiate", graph, 0))
            finally:
                call("cuGraphDestroy", graph)


def _destroy(context: Context, executable: int) -> None:
    with suppress(EngineError), context.current():
        call("cuGraphExecDestroy", executable)
