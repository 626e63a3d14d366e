"""Short reasons and remedies for errors of FFmpeg and of the operating system, to be built into one sentence."""

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
    errno.ELOOP: "its links lead in a circle",
}
_MAKE_ROOM = "make room or choose another place"
_PERMIT = "change its permissions or choose another place"
_REMEDIES = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: _MAKE_ROOM,
    errno.EACCES: _PERMIT,
    errno.EPERM: _PERMIT,
    errno.EROFS: "choose another place",
    errno.EIO: "check the drive or choose another place",
    errno.ENOENT: "create its folder or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
}

AV_ERRORS = (av.FFmpegError, OSError, ValueError)
# PyAV raises RuntimeError where the decoder that FFmpeg prefers for a codec knows no GPU, as libdav1d for AV1.
GPU_ERRORS = (*AV_ERRORS, RuntimeError)
NO_GPU = "no NVIDIA GPU was found"


def reason(error: BaseException) -> str:
    """Half a sentence, lower case, without the file name and without a full stop."""
    code = getattr(error, "errno", None)
    if code in _REASONS:
        return _REASONS[code]
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).split(":")[0].rstrip(". ")


def remedy(error: BaseException) -> str:
    """What to do about a failure to write, as half a sentence like `reason`."""
    otherwise = "choose another output container" if isinstance(error, av.FFmpegError) else "choose another place"
    return _REMEDIES.get(getattr(error, "errno", None) or 0, otherwise)


def gpu_reason(error: BaseException) -> str:
    """Half a sentence like `reason` for what NVDEC or NVENC failed with."""
    # What FFmpeg gives where it cannot load libcuda and the like; nothing else here asks for permission.
    if getattr(error, "errno", None) == errno.EPERM:
        return "a library of NVIDIA's driver cannot be loaded"
    return reason(error)
