"""What a subtitle looks like at a point in time: font, karaoke progress and fade, ready to blend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from clear_rt.burn.config import BurnConfig
from clear_rt.burn.coverage import best_face, distinct, missing
from clear_rt.burn.fonts import FontFace, faces_for, installed_faces
from clear_rt.burn.layers import Layer, make_layer
from clear_rt.burn.lines import Caption
from clear_rt.burn.render import Overlay, open_face, render
from clear_rt.burn.scripts import SCRIPTS, Script, script_of
from clear_rt.frames.frame import Plane
from clear_rt.frames.info import VideoInfo

_KARAOKE_STEPS = 8
_OPACITY_STEPS = 255
_KEPT = 4


class Painter:
    """Draws `captions` (sorted, disjoint for each edge) in one style for one video, asked for growing times.

    Raises:
        ConfigError: `config.font` cannot be read as a font.
    """

    def __init__(self, config: BurnConfig, info: VideoInfo, captions: Iterable[Caption]) -> None:
        self.style = config.look()
        self.captions_shown = 0
        self.missing_characters: set[str] = set()
        self._config, self._info = config, info
        self._waiting = iter(captions)
        self._next = next(self._waiting, None)
        self._shown: list[Caption] = []
        self._own_face = FontFace(config.font) if config.font is not None else None
        if self._own_face is not None:
            open_face(self._own_face, 12)
        self._face_and_script = lru_cache(_KEPT)(self._choose_face)
        self._overlay = lru_cache(_KEPT)(self._draw)
        self._layers: dict[tuple[Caption, int, int], Layer] = {}

    def layers(self, time_us: int, planes: Sequence[Plane]) -> tuple[Layer, ...]:
        """What is seen at `time_us`, for upright planes of the video. Times must not go back."""
        self._advance(time_us)
        layers = (self._layer(caption, time_us, planes) for caption in self._shown)
        return tuple(layer for layer in layers if layer.visible)

    def _advance(self, time_us: int) -> None:
        while self._next is not None and self._next.start_us <= time_us:
            if self._next.stop_us > time_us:
                self._shown.append(self._next)
                self.captions_shown += 1
            self._next = next(self._waiting, None)
        self._shown = [caption for caption in self._shown if caption.stop_us > time_us]

    def _layer(self, caption: Caption, time_us: int, planes: Sequence[Plane]) -> Layer:
        step = 0
        if self.style.karaoke is not None:
            step = _KARAOKE_STEPS * (time_us - caption.start_us) // (caption.stop_us - caption.start_us)
        return self._cached_layer(caption, step, self._opacity(caption, time_us), planes)

    def _opacity(self, caption: Caption, time_us: int) -> int:
        """0..255; a fade takes `style.fade_us` at either end of the caption."""
        from_edge_us = min(time_us - caption.start_us, caption.stop_us - time_us)
        share = min(from_edge_us / self.style.fade_us, 1.0) if self.style.fade_us > 0 else 1.0
        return round(_OPACITY_STEPS * share)

    def _cached_layer(self, caption: Caption, step: int, opacity: int, planes: Sequence[Plane]) -> Layer:
        key = caption, step, opacity
        if key not in self._layers:
            while len(self._layers) >= _KEPT:
                del self._layers[next(iter(self._layers))]
            overlay = self._overlay(caption, step)
            self._layers[key] = make_layer(overlay, opacity / _OPACITY_STEPS, self._info, planes)
        return self._layers[key]

    def _draw(self, caption: Caption, step: int) -> Overlay:
        face, script = self._face_and_script(caption)
        top = caption.top or self.style.top if self._config.position == "auto" else self.style.top
        sung_share = (step + 1) / _KARAOKE_STEPS
        size = self._info.width_px, self._info.height_px
        return render(list(caption.lines), script, replace(self.style, top=top), face, *size, sung_share)

    def _choose_face(self, caption: Caption) -> tuple[FontFace, Script]:
        text = "".join(caption.lines)
        script = SCRIPTS[caption.script] if caption.script is not None else script_of(text)
        faces = (self._own_face,) if self._own_face is not None else self._candidates(script.name)
        face = best_face(faces, text)
        self.missing_characters |= missing(face, text)
        return face, script

    def _candidates(self, script: str) -> tuple[FontFace, ...]:
        """One face of the script by the seed, then its others, then those of the other scripts."""
        own = faces_for(script)
        first = own[int(np.random.default_rng([self._config.seed, len(own)]).integers(len(own)))]
        others = (face for name in SCRIPTS if name != script for face in installed_faces(name))
        return distinct((first, *own, *others))
