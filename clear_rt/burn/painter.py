"""What a subtitle looks like at a point in time: font, karaoke progress, place and fade."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from clear_rt.burn.coverage import best_face, distinct, missing
from clear_rt.burn.fonts import FontFace, faces_for, installed_faces
from clear_rt.burn.lines import Caption
from clear_rt.burn.looks import Look
from clear_rt.burn.motion import Extent, Place, place, travel
from clear_rt.burn.overlay import OPAQUE, Glimpse, Overlay, Shown, clip, smeared
from clear_rt.burn.recipe import Recipe
from clear_rt.burn.renderers import renderer
from clear_rt.burn.scene_colour import scene_colour
from clear_rt.burn.scripts import ALL_SCRIPTS, SCRIPTS, Script, script_of
from clear_rt.burn.styles import Colour
from clear_rt.burn.typeset import Line, open_face, typeset

_KARAOKE_STEPS = 8
_KEPT = 4


@dataclass(frozen=True, slots=True)
class _Still:
    """A caption as it is drawn, whole, and as much of it as lies within the picture at rest."""

    whole: Overlay
    clipped: Overlay


class Painter:
    """Draws `captions` (sorted, disjoint for each edge) by one recipe into a picture, asked for growing times.

    Raises:
        ConfigError: `recipe.font` cannot be read as a font, or the renderer asked for is not there.
    """

    def __init__(self, recipe: Recipe, width_px: int, height_px: int, captions: Iterable[Caption]) -> None:
        self.captions_shown = 0
        self.missing_characters: set[str] = set()
        self._recipe, self._width_px, self._height_px = recipe, width_px, height_px
        self._draw = renderer(recipe.renderer)
        self._waiting = iter(captions)
        self._next = next(self._waiting, None)
        self._shown: list[Caption] = []
        self._colours: dict[Caption, Colour] = {}
        self._own_face = FontFace(recipe.font) if recipe.font is not None else None
        if self._own_face is not None:
            open_face(self._own_face, 12)
        self._lines: Callable[[Caption], tuple[Line, ...]] = lru_cache(_KEPT)(self._choose_lines)
        self._still: Callable[[Caption, int, Colour | None], _Still] = lru_cache(_KEPT)(self._draw_still)

    def at(self, time_us: int, glimpse: Glimpse) -> tuple[Shown, ...]:
        """What is seen at `time_us`. Times must not go back."""
        self._advance(time_us)
        return tuple(self._seen(caption, time_us, glimpse) for caption in self._shown)

    def _advance(self, time_us: int) -> None:
        while self._next is not None and self._next.start_us <= time_us:
            if self._next.stop_us > time_us:
                self._shown.append(self._next)
                self.captions_shown += 1
            self._next = next(self._waiting, None)
        self._shown = [caption for caption in self._shown if caption.stop_us > time_us]

    def _seen(self, caption: Caption, time_us: int, glimpse: Glimpse) -> Shown:
        since_us, left_us = time_us - caption.start_us, caption.stop_us - time_us
        look = self._recipe.look
        step = 0
        if look.style.karaoke is not None:
            step = _KARAOKE_STEPS * since_us // (caption.stop_us - caption.start_us)
        colour = self._colour(caption, glimpse) if look.effects.scene_colour else None
        still = self._still(caption, step, colour)
        overlay = still.clipped if look.motion.kind == "still" else self._moved(still.whole, since_us, left_us)
        return Shown(overlay, _opacity(look, since_us, left_us))

    def _moved(self, whole: Overlay, since_us: int, left_us: int) -> Overlay:
        height_px, width_px = whole.rgba.shape[:2]
        rest = Place(whole.x_px, whole.y_px)
        extent = Extent(rest, width_px, height_px, self._width_px, self._height_px)
        motion = self._recipe.look.motion
        now = place(motion, extent, since_us, left_us)
        there = Overlay(whole.rgba, round(now.x_px), round(now.y_px))
        return clip(smeared(there, *travel(motion, extent, since_us, left_us)), self._width_px, self._height_px)

    def _colour(self, caption: Caption, glimpse: Glimpse) -> Colour:
        """Taken from the picture in which the caption appears, and kept."""
        if caption not in self._colours:
            whole = self._still(caption, 0, None).whole
            found = scene_colour(glimpse(self._height_px, self._width_px), whole)
            self._colours = {one: self._colours[one] for one in self._shown if one in self._colours} | {caption: found}
        return self._colours[caption]

    def _draw_still(self, caption: Caption, step: int, colour: Colour | None) -> _Still:
        look, recipe = self._recipe.look, self._recipe
        top = caption.top or look.style.top if recipe.position == "auto" else look.style.top
        style = replace(look.style, top=top, colour=colour or look.style.colour)
        look = replace(look, style=style)
        setting = typeset(self._lines(caption), look, self._width_px, self._height_px)
        whole = self._draw(setting, look, (step + 1) / _KARAOKE_STEPS)
        smear_px = look.effects.smear_share * setting.size_px
        whole = smeared(whole, *((0.0, smear_px) if look.vertical else (smear_px, 0.0)))
        return _Still(whole, clip(whole, self._width_px, self._height_px))

    def _choose_lines(self, caption: Caption) -> tuple[Line, ...]:
        names = [caption.script] * len(caption.lines)
        scales = [1.0] * len(caption.lines)
        second_size, together = self._recipe.look.second_size, "".join(caption.lines)
        bilingual = caption.second is not None or (second_size > 0 and len(caption.lines) > 1)
        if bilingual:
            names[-1], scales[-1] = caption.second or script_of(caption.lines[-1]).name, second_size or 1.0
        lines = []
        for text, name, scale in zip(caption.lines, names, scales, strict=True):
            # Lines of one language share a face.
            letters = text if bilingual else together
            script = ALL_SCRIPTS[name] if name is not None else script_of(letters)
            face = self._face(letters, script)
            lines.append(Line(text, script, face, scale))
        return tuple(lines)

    def _face(self, text: str, script: Script) -> FontFace:
        faces = (self._own_face,) if self._own_face is not None else self._candidates(script.name)
        face = best_face(faces, text)
        self.missing_characters |= missing(face, text)
        return face

    def _candidates(self, script: str) -> tuple[FontFace, ...]:
        """One face of the script by the seed, then its others, then those of the other scripts."""
        own = faces_for(script)
        first = own[int(np.random.default_rng([self._recipe.seed, len(own)]).integers(len(own)))]
        names = [*SCRIPTS, *(name for name in ALL_SCRIPTS if name not in SCRIPTS)]
        others = (face for name in names if name != script for face in installed_faces(name))
        return distinct((first, *own, *others))


def _opacity(look: Look, since_us: int, left_us: int) -> int:
    """0 .. OPAQUE; a fade takes `style.fade_us` at either end of the caption."""
    fade_us = look.style.fade_us
    share = min(min(since_us, left_us) / fade_us, 1.0) if fade_us > 0 else 1.0
    return round(OPAQUE * share)
