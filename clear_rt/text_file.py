"""`write_text`: a file of text that appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

from clear_rt.errors import OutputError
from clear_rt.frames.atomic import Partial
from clear_rt.frames.failures import reason, remedy


def write_text(target: Path, text: str) -> None:
    """UTF-8. Raises OutputError where `target` cannot be written; it then stays as it was."""
    partial = Partial(target)
    try:
        partial.path.write_text(text, encoding="utf-8")
        partial.commit()
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {reason(error)}; {remedy(error)}") from error
    finally:
        partial.discard()
