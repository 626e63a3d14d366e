"""A damage applied to pictures as they come. As many come out as went in, in the same order, at the same size.

The same damage and seed do the same to two versions of a video, the subtitled one and its clean twin: grain is the
same, and so are sizes, field order and rates. What differs afterwards differs by the subtitles, and by what a codec
made of them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import numpy as np

from clear_rt.burn.damage.damage import Damage
from clear_rt.burn.overlay import UInt8
from clear_rt.burn.pillow import Image
from clear_rt.frames.recode import Coding, recoded

_QUANTISED = {"mpeg2": "mpeg2video", "mpeg4": "mpeg4"}
_GRAIN_SIZE = 2


def damaged(pictures: Iterable[UInt8], damage: Damage, seed: int) -> Iterator[UInt8]:
    """RGB uint8 [H, W, 3] each. A codec holds some pictures back (H.264 and HEVC up to 60)."""
    coming = iter(pictures)
    if damage.grain > 0:
        coming = _grainy(coming, damage.grain, seed)
    coming = moved_by(coming, damage)
    if damage.jpeg is not None:
        coming = (_as_jpeg(picture, damage.jpeg) for picture in coming)
    return coming if damage.codec is None else recoded(coming, coding(damage))


def moved_by(pictures: Iterable[UInt8], damage: Damage) -> Iterator[UInt8]:
    """The part of a damage that moves what is in a picture to other pixels or frames: what a mask goes through too.

    Pictures are uint8 [H, W, 3] or [H, W].
    """
    coming = iter(pictures)
    if damage.scale < 1:
        coming = (_rescaled(picture, damage.scale) for picture in coming)
    return _combed(coming, damage.combed, damage.cadence) if damage.combed > 0 else coming


def coding(damage: Damage, preset: str = "veryfast") -> Coding:
    """The codec at the end of a damage that has one; `preset` is that of x264 and x265."""
    if damage.codec in _QUANTISED:
        # Both ends of the quantiser's range: the flag qscale heeds a quality that frames carry, and PyAV's have none.
        quality = (("qmin", str(damage.rate)), ("qmax", str(damage.rate)))
        return Coding(_QUANTISED[damage.codec], (*quality, ("g", str(damage.gop))))
    options = (("crf", str(damage.rate)), ("preset", preset), ("g", str(damage.gop)))
    if damage.codec == "hevc":
        return Coding("libx265", (*options, ("x265-params", "log-level=none:pools=none:frame-threads=1")))
    return Coding("libx264", options)


def _grainy(pictures: Iterator[UInt8], sigma: float, seed: int) -> Iterator[UInt8]:
    """Grey noise in grains of two pixels, as film has it, strongest in the middle tones."""
    for index, picture in enumerate(pictures):
        rng = np.random.default_rng([seed, index])
        height, width = picture.shape[:2]
        fine = rng.standard_normal((height, width), np.float32)
        coarse = rng.standard_normal((-(-height // _GRAIN_SIZE), -(-width // _GRAIN_SIZE)), np.float32)
        coarse = coarse.repeat(_GRAIN_SIZE, axis=0)[:height].repeat(_GRAIN_SIZE, axis=1)[:, :width]
        noise = (0.6 * fine + 0.8 * coarse)[..., None] * np.float32(sigma)
        level = picture.astype(np.float32)
        strength = 0.4 + 0.6 * (1 - np.square(level / 127.5 - 1))
        yield np.clip(np.rint(level + noise * strength), 0, 255).astype(np.uint8)


def _rescaled(picture: UInt8, scale: float) -> UInt8:
    height, width = picture.shape[:2]
    small = max(round(width * scale), 1), max(round(height * scale), 1)
    image = Image.fromarray(picture).resize(small, Image.Resampling.BOX)
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR))


def _combed(pictures: Iterator[UInt8], combed: int, cadence: int) -> Iterator[UInt8]:
    before: UInt8 | None = None
    for index, picture in enumerate(pictures):
        woven = picture
        if before is not None and index % cadence < combed:
            woven = picture.copy()
            woven[1::2] = before[1::2]
        before = picture
        yield woven


def _as_jpeg(picture: UInt8, quality: int) -> UInt8:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    file.seek(0)
    return np.array(Image.open(file))
