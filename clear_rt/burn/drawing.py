"""All that a recipe draws over a video, parted into what stays and what is to be removed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from clear_rt.burn.lines import Caption, endless_captions
from clear_rt.burn.negatives.choice import overlays, scene_texts
from clear_rt.burn.overlay import Drawn, Glimpse, Shown
from clear_rt.burn.painter import Painter
from clear_rt.burn.recipe import Recipe
from clear_rt.burn.scripts import SCRIPTS


class Seen(NamedTuple):
    """What lies over one frame, the undermost first: `goes` lies over `stays`."""

    stays: tuple[Shown, ...]
    goes: tuple[Shown, ...]


class Drawing:
    """`captions` (sorted, disjoint for each edge; by default made up without an end) and the recipe's other overlays,
    for a picture of width_px x height_px.

    Raises:
        ConfigError: a font or the renderer is missing.
    """

    def __init__(
        self, recipe: Recipe, width_px: int, height_px: int, captions: Iterable[Caption] | None = None
    ) -> None:
        bilingual = recipe.look.second_size > 0
        made_up = endless_captions(recipe.scripts, recipe.seed, recipe.times, bilingual=bilingual)
        self.painter = Painter(recipe, width_px, height_px, made_up if captions is None else captions)
        scripts = tuple(SCRIPTS)
        others = overlays(recipe.negatives, width_px, height_px, scripts, recipe.seed)
        scene = scene_texts(recipe.scene_texts, width_px, height_px, scripts, recipe.seed)
        goes = recipe.removes == "all"
        self._stays: tuple[Drawn, ...] = scene if goes else (*scene, *others)
        self._goes: tuple[Drawn, ...] = (*others, self.painter) if goes else (self.painter,)

    def at(self, time_us: int, glimpse: Glimpse) -> Seen:
        """What is seen at `time_us`, microseconds from the first frame. To be asked for every frame, in order."""
        stays = (shown for drawn in self._stays for shown in drawn.at(time_us, glimpse))
        goes = (shown for drawn in self._goes for shown in drawn.at(time_us, glimpse))
        return Seen(tuple(stays), tuple(goes))
