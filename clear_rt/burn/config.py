"""What `burn` can be told, and the looks that have a name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from clear_rt.burn.damage.damage import parse_damage
from clear_rt.burn.fonts import installed_faces
from clear_rt.burn.looks import LOOKS, Look, LookName, random_look
from clear_rt.burn.recipe import NegativeName, Position, Recipe, Removes, RendererName
from clear_rt.burn.scripts import FURTHER, SCRIPTS, VERTICAL
from clear_rt.burn.styles import random_style
from clear_rt.burn.timing import TimingName
from clear_rt.errors import ConfigError

ScriptName = Literal["zh", "zh-hant", "en", "vi", "el", "ru", "ja", "ko", "ar", "he", "th", "hi", "mix", "all"]
StyleName = Literal["random", "any", LookName]
STYLES: tuple[str, ...] = get_args(StyleName)


def _require_one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{option} must be one of {', '.join(allowed)}, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnConfig:
    """What is drawn and how it looks.

    `script` chooses the random lines; it is not used where `subtitles` (.srt, .ass, .ssa) brings its own. "mix" is the
    first six scripts, "all" the others as well that a font is installed for. `style` "random" draws one of the plain
    looks by the seed, "any" one of all. `size_share` is the font size as a share of the picture's height (None: the
    style's own). `position` "auto" leaves the edge to the style and to the subtitle file. `font` replaces the fonts
    that are found by script. `timing` is that of random lines. `negatives` are drawn as well and stay, unless `removes`
    says "all"; `scene_texts` pieces of lettering move with the picture and always stay. `damage` is what `parse_damage`
    takes. One `seed`, one result.
    """

    script: ScriptName = "mix"
    seed: int = 0
    size_share: float | None = None
    position: Position = "auto"
    style: StyleName = "random"
    font: Path | None = None
    subtitles: Path | None = None
    timing: TimingName = "film"
    renderer: RendererName = "pillow"
    negatives: tuple[NegativeName, ...] = ()
    scene_texts: int = 0
    removes: Removes = "subtitles"
    damage: str = "none"

    def __post_init__(self) -> None:
        _require_one_of("--script", self.script, get_args(ScriptName))
        _require_one_of("--style", self.style, STYLES)
        _require_one_of("--position", self.position, get_args(Position))
        _require_one_of("--timing", self.timing, get_args(TimingName))
        _require_one_of("--renderer", self.renderer, get_args(RendererName))
        _require_one_of("--removes", self.removes, get_args(Removes))
        for name in self.negatives:
            _require_one_of("--negatives", name, get_args(NegativeName))
        if len(set(self.negatives)) < len(self.negatives):
            raise ConfigError(f"each of --negatives is drawn once, got {', '.join(self.negatives)}")
        if self.seed < 0:
            raise ConfigError(f"--seed must be 0 or more, got {self.seed}")
        if self.scene_texts < 0:
            raise ConfigError(f"--scene-texts must be 0 or more, got {self.scene_texts}")
        if self.size_share is not None and not 0.01 <= self.size_share <= 0.5:
            raise ConfigError(f"the font size must be 0.01 to 0.5 of the picture's height, got {self.size_share}")
        if self.style == "vertical" and self.script not in ("mix", "all", *VERTICAL):
            raise ConfigError(f"--style vertical is for {', '.join(VERTICAL)}, got --script {self.script}")
        parse_damage(self.damage, self.seed)

    @property
    def scripts(self) -> tuple[str, ...]:
        """Names of the scripts that random lines are drawn from."""
        if self.script in ("mix", "all"):
            able = [name for name in FURTHER if self.script == "all" and installed_faces(name)]
            every = (*SCRIPTS, *able)
            return tuple(name for name in every if name in VERTICAL) if self.look().vertical else every
        return (self.script,)

    def look(self) -> Look:
        """The one look of the whole video."""
        look = self._named_look()
        style = look.style
        if self.size_share is not None:
            style = replace(style, size_share=self.size_share)
        if self.position != "auto":
            style = replace(style, top=self.position == "top")
        return replace(look, style=style)

    def recipe(self) -> Recipe:
        """All of it as the one description that drawing and damage go by."""
        return Recipe(
            look=self.look(),
            timing=self.timing,
            scripts=self.scripts,
            position=self.position,
            font=self.font,
            renderer=self.renderer,
            negatives=self.negatives,
            scene_texts=self.scene_texts,
            removes=self.removes,
            damage=parse_damage(self.damage, self.seed),
            seed=self.seed,
        )

    def _named_look(self) -> Look:
        rng = np.random.default_rng(self.seed)
        if self.style == "any":
            look = random_look(rng)
            return replace(look, vertical=look.vertical and self.script in ("mix", "all", *VERTICAL))
        return Look(style=random_style(rng)) if self.style == "random" else LOOKS[self.style]
