"""One process at a time in a work folder; the lock of a process that died is nobody's."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from clear_rt.errors import OutputError
from clear_rt.frames.failures import reason, remedy

_NAME = "lock"
# Network file systems without locks: there two processes are not kept apart.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class WorkLock:
    """The lock of `folder`, which is made if need be. Raises OutputError where another process holds it."""

    def __init__(self, folder: Path, target: Path) -> None:
        self._path = folder / _NAME
        try:
            self._file = self._take(folder, target)
        except OSError as error:
            raise OutputError(f"expected a work folder at {folder}, but {reason(error)}; {remedy(error)}") from error

    def release(self) -> None:
        os.close(self._file)

    def _take(self, folder: Path, target: Path) -> int:
        while True:
            folder.mkdir(exist_ok=True)
            try:
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(file)
                raise OutputError(
                    f"another process is writing {target}; wait for it to end or choose another output name"
                ) from error
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    os.close(file)
                    raise
            if self._is_at_its_place(file):
                return file
            os.close(file)

    def _is_at_its_place(self, file: int) -> bool:
        """False where whoever held the lock before took the folder away with it."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(file), self._path.stat())
        return False
