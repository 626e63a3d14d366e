"""Boxes, times, rates and how eagerly text is looked for, from the words of the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import exp, log
from pathlib import Path
from typing import Literal

from clear_rt.config import DecoderName, MatteConfig, RawPictures, ReadConfig, RegionConfig, TextKind, TimeSpan
from clear_rt.errors import ConfigError
from clear_rt.shapes import Box

Sensitivity = Literal["low", "normal", "high"]
# What `detect` prints.
Format = Literal["json", "csv", "srt"]
# What is added to the log odds of every threshold: 0.9 becomes 0.67 or 0.976, 0.35 becomes 0.11 or 0.71.
_LOG_ODDS = {"low": 1.5, "normal": 0.0, "high": -1.5}
_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)")
_SECONDS = (3600, 60, 1)
_RAW = re.compile(r"(\d+)x(\d+):(\w+)")
_RATE = re.compile(r"\d+(?:\.\d+|/[1-9]\d*)?")
_BITRATE = re.compile(r"(\d+(?:\.\d+)?)(k|M|)")


def region_of(
    regions: Sequence[str],
    keep: Sequence[str],
    times: Sequence[str],
    mask: Path | None = None,
    text: TextKind | None = None,
) -> RegionConfig:
    """`regions` are auto, full, or one box or several. Raises ConfigError for what is none of that."""
    rest = {
        "keep": tuple(box_of(box, "--keep-region") for box in keep),
        "times": tuple(map(span_of, times)),
        "mask": mask,
    } | ({} if text is None else {"text": text})
    if list(regions) in ([], ["auto"], ["full"]):
        return RegionConfig(mode="full" if list(regions) == ["full"] else "auto", **rest)  # type: ignore[arg-type]
    if "auto" in regions or "full" in regions:
        raise ConfigError("--region is auto, full, or boxes x,y,w,h, not both; leave out one of them")
    boxes = tuple(box_of(box, "--region") for box in regions)
    return RegionConfig(mode="fixed", boxes=boxes, **rest)  # type: ignore[arg-type]


def box_of(text: str, option: str) -> Box:
    """x,y,w,h in pixels. Raises ConfigError that names the option."""
    others = "auto, full or " if option == "--region" else ""
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} must be {others}x,y,w,h in pixels, got {text!r}") from None
    if min(x, y) < 0 or min(width, height) < 1:
        raise ConfigError(f"{option} x,y,w,h needs x, y >= 0 and w, h >= 1, got {text!r}")
    return Box(x, y, width, height)


def span_of(text: str) -> TimeSpan:
    """00:10-12:00, 90-120.5 or 1:02:03- from the video's start. Raises ConfigError for what is none."""
    start, dash, stop = text.partition("-")
    start_us, stop_us = (None if not part else _microseconds(part) for part in (start, stop))
    bad = (start and start_us is None) or (stop and stop_us is None) or not (start or stop)
    if not dash or bad or (stop_us is not None and stop_us <= (start_us or 0)):
        raise ConfigError(f"--time must be such as 00:10-12:00, 90-120.5 or 1:02:03-, got {text!r}")
    return TimeSpan(start_us or 0, stop_us)


def bitrate_of(text: str) -> int | Literal["auto"]:
    """auto, or bits per second such as 800k, 4M or 1500000. Raises ConfigError for what is none."""
    if text == "auto":
        return "auto"
    found = _BITRATE.fullmatch(text)
    if found is None:
        raise ConfigError(f"--bitrate must be auto or a number such as 800k or 4.5M, got {text!r}")
    return round(float(found[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[found[2]])


def reading_of(decoder: DecoderName, rate: str | None, raw: str | None) -> ReadConfig:
    """`rate` is 24, 23.976 or 24000/1001, `raw` 1920x1080:yuv420p. Raises ConfigError for what is none."""
    if rate is not None and not _RATE.fullmatch(rate):
        raise ConfigError(f"--rate must be frames per second such as 24, 23.976 or 24000/1001, got {rate!r}")
    found = _RAW.fullmatch(raw) if raw is not None else None
    if raw is not None and (found is None or 0 in (int(found[1]), int(found[2]))):
        raise ConfigError(f"--raw must be the size and pixel format, such as 1920x1080:yuv420p, got {raw!r}")
    pictures = None if found is None else RawPictures(int(found[1]), int(found[2]), found[3])
    return ReadConfig(decoder=decoder, rate=None if rate is None else Fraction(rate), raw=pictures)


def at_sensitivity(region: RegionConfig, matte: MatteConfig, name: Sensitivity) -> tuple[RegionConfig, MatteConfig]:
    """Both with every threshold of probability moved; high finds more, low lets more of the scene alone."""
    shift = _LOG_ODDS[name]
    return (
        replace(
            region,
            enter_probability=_moved(region.enter_probability, shift),
            stay_probability=_moved(region.stay_probability, shift),
        ),
        replace(
            matte,
            seen_probability=_moved(matte.seen_probability, shift),
            sure_probability=_moved(matte.sure_probability, shift),
            high_probability=_moved(matte.high_probability, shift),
            low_probability=_moved(matte.low_probability, shift),
        ),
    )


def _moved(probability: float, shift: float) -> float:
    return 1 / (1 + exp(-log(probability / (1 - probability)) - shift)) if shift else probability


def _microseconds(text: str) -> int | None:
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    parts = [float(part or 0) for part in found.groups()]
    return round(1_000_000 * sum(part * unit for part, unit in zip(parts, _SECONDS, strict=True)))
