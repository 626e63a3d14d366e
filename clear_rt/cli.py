"""The entry point: one command, one sentence for every error, one exit status, and an orderly end on a signal.

Importing this module is cheap: what the commands need is imported inside `main`, where an interrupt is caught.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from contextlib import redirect_stdout
from types import FrameType, TracebackType
from typing import Any, Self

from clear_rt.console import Told, hush, say, warn
from clear_rt.errors import ClearError, ExitStatus

_ENDS = {
    signal.SIGINT: ("interrupted", ExitStatus.INTERRUPTED),
    signal.SIGTERM: ("terminated", ExitStatus.TERMINATED),
}
# `timeout` and process managers signal the process and then its group: the second signal must not stop the cleaning up.
_AGAIN_AFTER_S = 5.0


def _run(arguments: list[str]) -> int:
    """Run one command and print what it says. Raises what the command raises, and OutputError from printing."""
    from typer.exceptions import TyperException

    from clear_rt.commands import app

    typers_own = io.StringIO()
    try:
        # Typer prints the help by itself and ends the process where that fails.
        with redirect_stdout(typers_own):
            result: Any = app(args=arguments or ["--help"], standalone_mode=False, prog_name="clear-rt")
    except TyperException as error:
        warn(error.format_message())
        return ExitStatus.USAGE
    if isinstance(result, Told):
        say(result)
    elif typers_own.getvalue():
        say(Told(typers_own.getvalue().removesuffix("\n"), "the answer"))
    if not arguments:
        return ExitStatus.USAGE
    return result if isinstance(result, int) else ExitStatus.OK


class _Signals:
    """Makes SIGINT and SIGTERM raise KeyboardInterrupt, so that both clean up alike; `first` is the one that came.

    Does nothing outside the main thread, nor to a signal that is ignored or handled otherwise.
    """

    def __init__(self) -> None:
        self.first: signal.Signals | None = None
        self._deaf_until_s = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def _caught(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if now_s < self._deaf_until_s:
            return
        self.first = self.first or signal.Signals(number)
        self._deaf_until_s = now_s + _AGAIN_AFTER_S
        raise KeyboardInterrupt

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _ENDS:
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _stopped(number: signal.Signals) -> int:
    word, status = _ENDS[number]
    warn(f"{word}; an output appears complete or not at all")
    return status


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status. CLEAR_RT_DEBUG=1 shows where an error came from.

    In the main thread, SIGINT and SIGTERM end the command in order, with 130 and 143.
    """
    signals = _Signals()
    try:
        with signals:
            status = _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        status = ExitStatus.INTERRUPTED
    except Exception as error:
        if signals.first is not None:
            # Extension modules turn an interrupt of their import into an error of their own.
            status = ExitStatus.INTERRUPTED
        elif isinstance(error, ClearError) and not os.environ.get("CLEAR_RT_DEBUG"):
            warn(str(error))
            status = error.status
        else:
            raise
    finally:
        hush(sys.stdout)
        hush(sys.stderr)
    # Typer turns an interrupt inside a command into this status by itself, and says nothing.
    return _stopped(signals.first or signal.SIGINT) if status == ExitStatus.INTERRUPTED else status


if __name__ == "__main__":
    sys.exit(main())
