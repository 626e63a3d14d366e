"""What `burn` can be told, and the looks that have a name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from clear_rt.burn.scripts import SCRIPTS
from clear_rt.burn.styles import Style, random_style
from clear_rt.errors import ConfigError

ScriptName = Literal["zh", "en", "ja", "ko", "ru", "ar", "mix"]
StyleName = Literal["random", "outline", "box", "shadow", "karaoke"]
Position = Literal["auto", "top", "bottom"]

_PRESETS = {
    "outline": Style(),
    "box": Style(outline_share=0.0, box_alpha=0.7),
    "shadow": Style(outline_share=0.0, shadow_share=0.07, shadow_alpha=0.8, shadow_blur_share=0.04, fade_us=200_000),
    "karaoke": Style(karaoke=(255, 230, 80), outline_share=0.08, outline_colour=(20, 60, 90)),
}


def _require_one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{option} must be one of {', '.join(allowed)}, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnConfig:
    """What is drawn and how it looks.

    `script` chooses the random lines; it is not used where `subtitles` (.srt, .ass, .ssa) brings its own. `size_share`
    is the font size as a share of the picture's height (None: the style's own). `position` "auto" leaves the edge to
    the style and to the subtitle file. `font` replaces the fonts that are found by script. One `seed`, one result.
    """

    script: ScriptName = "mix"
    seed: int = 0
    size_share: float | None = None
    position: Position = "auto"
    style: StyleName = "random"
    font: Path | None = None
    subtitles: Path | None = None

    def __post_init__(self) -> None:
        _require_one_of("--script", self.script, get_args(ScriptName))
        _require_one_of("--style", self.style, get_args(StyleName))
        _require_one_of("--position", self.position, get_args(Position))
        if self.seed < 0:
            raise ConfigError(f"--seed must be 0 or more, got {self.seed}")
        if self.size_share is not None and not 0.01 <= self.size_share <= 0.5:
            raise ConfigError(f"the font size must be 0.01 to 0.5 of the picture's height, got {self.size_share}")

    @property
    def scripts(self) -> tuple[str, ...]:
        """Names of the scripts that random lines are drawn from."""
        return tuple(SCRIPTS) if self.script == "mix" else (self.script,)

    def look(self) -> Style:
        """The one style of the whole video."""
        named = _PRESETS.get(self.style)
        style = named if named is not None else random_style(np.random.default_rng(self.seed))
        if self.size_share is not None:
            style = replace(style, size_share=self.size_share)
        return style if self.position == "auto" else replace(style, top=self.position == "top")
