"""The kinds of negatives by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from clear_rt.burn.negatives.credits import Credits
from clear_rt.burn.negatives.logo import Logo
from clear_rt.burn.negatives.scene_text import SceneText
from clear_rt.burn.negatives.sign import Sign
from clear_rt.burn.negatives.ticker import Ticker
from clear_rt.burn.overlay import Drawn
from clear_rt.burn.recipe import NegativeName

_KINDS: dict[str, Callable[[int, int, tuple[str, ...], np.random.Generator], Drawn]] = {
    "logo": Logo,
    "ticker": Ticker,
    "credits": Credits,
    "sign": Sign,
}


def overlays(
    names: Sequence[NegativeName], width_px: int, height_px: int, scripts: tuple[str, ...], seed: int
) -> tuple[Drawn, ...]:
    """What is laid over the picture, each kind by a random sequence of its own, whatever else is drawn."""
    kinds = list(_KINDS)
    return tuple(
        _KINDS[name](width_px, height_px, scripts, np.random.default_rng([seed, 1 + kinds.index(name)]))
        for name in names
    )


def scene_texts(count: int, width_px: int, height_px: int, scripts: tuple[str, ...], seed: int) -> tuple[Drawn, ...]:
    """So many pieces of lettering in the scene."""
    return tuple(
        SceneText(width_px, height_px, scripts, np.random.default_rng([seed, 100 + number])) for number in range(count)
    )
