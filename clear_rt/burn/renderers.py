"""What turns a setting into an overlay: Pillow, or libass through an ffmpeg on the machine."""

from __future__ import annotations

from typing import Protocol

from clear_rt.burn.libass import Libass
from clear_rt.burn.looks import Look
from clear_rt.burn.overlay import Overlay
from clear_rt.burn.recipe import RendererName
from clear_rt.burn.render import draw
from clear_rt.burn.typeset import Setting


class Renderer(Protocol):
    def __call__(self, setting: Setting, look: Look, sung_share: float) -> Overlay: ...


def renderer(name: RendererName) -> Renderer:
    """By name. Raises ConfigError where libass is asked for and no ffmpeg with it is on PATH."""
    return Libass() if name == "libass" else draw
