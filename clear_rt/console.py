"""Standard output and error of the command line, where printing itself can fail."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple, TextIO

from clear_rt.errors import OutputError


class Told(NamedTuple):
    """What a command has to say at its end, and what is lost where that cannot be printed."""

    text: str
    subject: str = "the report"


def _write(stream: TextIO | None, text: str) -> None:
    """`text` and a line feed, out at once; characters that the stream's encoding lacks are escaped. Raises OSError."""
    if stream is not None:
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()


def say(told: Told) -> None:
    """Print on standard output. Raises OutputError where that cannot be written."""
    try:
        _write(sys.stdout, told.text)
    except OSError as error:
        raise OutputError(
            f"{told.subject} could not be printed ({error.strerror or error}); check where standard output goes"
        ) from error


def warn(*sentences: str) -> None:
    """Print on standard error, a line each, whatever line ends the names in it have."""
    try:
        for sentence in sentences:
            _write(sys.stderr, f"clear-rt: {' '.join(sentence.splitlines())}")
    except OSError:
        # Nobody can be told. The exit status remains.
        return


def hush(stream: TextIO | None) -> None:
    """Lead what cannot be written to /dev/null: the interpreter flushes once more at exit and would complain."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
