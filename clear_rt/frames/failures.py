"""Short reasons for errors of FFmpeg and of the operating system, to be built into one sentence."""

from __future__ import annotations

import errno

import av

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would exceed the largest size allowed here",
    errno.EACCES: "permission was denied",
    errno.EPERM: "permission was denied",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the device reported an input/output error",
    errno.ENOENT: "it does not exist",
    errno.ENAMETOOLONG: "the name is too long",
}

AV_ERRORS = (av.FFmpegError, OSError, ValueError)


def reason(error: BaseException) -> str:
    """Half a sentence, lower case, without the file name and without a full stop."""
    code = getattr(error, "errno", None)
    if code in _REASONS:
        return _REASONS[code]
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).split(":")[0].rstrip(". ")
