"""One video's worth of drawing and damage: what `clear-rt burn` is told, and what training draws by seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clear_rt.burn.damage.damage import Damage
from clear_rt.burn.looks import Look
from clear_rt.burn.scripts import SCRIPTS
from clear_rt.burn.timing import TIMINGS, Timing, TimingName

Position = Literal["auto", "top", "bottom"]
RendererName = Literal["pillow", "libass"]
NegativeName = Literal["logo", "ticker", "credits", "sign"]
# What a remover is to take away: subtitles alone, or everything that was laid over the picture. Scene text stays.
Removes = Literal["subtitles", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How captions look and are timed, what else is drawn, what is to be removed of it, and what happens then.

    `seed` decides the words, the faces, the overlays beside the captions and the damage's grain. `scripts` are keys of
    ALL_SCRIPTS. `scene_texts` counts pieces of lettering that move with the scene.
    """

    look: Look = field(default_factory=Look)
    timing: TimingName = "film"
    scripts: tuple[str, ...] = tuple(SCRIPTS)
    position: Position = "auto"
    font: Path | None = None
    renderer: RendererName = "pillow"
    negatives: tuple[NegativeName, ...] = ()
    scene_texts: int = 0
    removes: Removes = "subtitles"
    damage: Damage = field(default_factory=Damage)
    seed: int = 0

    @property
    def times(self) -> Timing:
        """When captions are shown: always by a look that says so, and long enough to pass where they crawl."""
        if self.look.always:
            return TIMINGS["always"]
        crawls = self.look.motion.kind == "crawl" and self.timing == "film"
        return TIMINGS["long" if crawls else self.timing]
