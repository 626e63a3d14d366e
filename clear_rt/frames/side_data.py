"""What a decoded picture carries beside its samples: captions, HDR10 metadata, a turn, a colour profile."""

from __future__ import annotations

from typing import Any

import av

_NAME_FREED_TWICE = ("png", "apng")


def side_data_of(picture: av.VideoFrame, codec: str | None = None) -> list[tuple[str, bytes]]:
    """Kinds by FFmpeg's names without their prefix, and contents, of a picture that was decoded from `codec`;
    None where that cannot be PNG.

    Nothing of PNG, and nothing of a picture with EXIF, as TIFF and JPEG may have it: PyAV 18.1 frees the name of PNG's
    colour profile twice, which ends the process, and has no name for the kind that FFmpeg 8 gives to EXIF. All of it
    still travels with the picture from decoder to encoder.
    """
    if codec in _NAME_FREED_TWICE:
        return []
    try:
        data: Any = picture.side_data
    except ValueError:
        return []
    return [(item.type.name, bytes(item)) for item in data]
