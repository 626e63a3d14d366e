"""What pairs are made of, by share: looks, overlays that stay or go, scene text, timing and damage, drawn by seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from clear_rt.burn.damage.damage import random_damage
from clear_rt.burn.fonts import installed_faces
from clear_rt.burn.looks import Look, random_look
from clear_rt.burn.recipe import NegativeName, Recipe, Removes
from clear_rt.burn.scripts import FURTHER, SCRIPTS, VERTICAL
from clear_rt.burn.timing import TimingName
from clear_rt.errors import ConfigError

# Counts changes of what is drawn. 1 is what shards of versions before this file hold: captions that stand still in
# plain looks, tilted scene text in a fifth of the clips, no overlays that stay, H.264 and MPEG. 2 shows all of it at
# 360 rows, labelled after the damage.
MIX = 3
_TIMINGS: dict[TimingName, float] = {"film": 0.5, "gaps": 0.1, "back-to-back": 0.15, "short": 0.15, "long": 0.1}
_SCENE_SHARE = 0.45
_SECOND_SHARE = 0.25
_NAME = "mix.json"
# Of the picture's short side: where text is looked for, and the most at which it is outlined.
COARSE_PX, FINE_PX = 360, 720


@dataclass(frozen=True, slots=True, kw_only=True)
class MixConfig:
    """Shares of clips, 0..1. `removes` "subtitles": logos, tickers, credits and signs stay, so both pictures of a pair
    have them; "all": only the subtitled one has. Scene text is in both.

    `text_share` have captions, `hard_share` of these in a look that is not plain, `negative_share` have overlays that
    are no captions, or scene text. `harshest` is `random_damage`'s. `fine_share` are shown with a short side of more
    than 360 px, up to 720.
    """

    version: int = MIX
    removes: Removes = "subtitles"
    text_share: float = 0.85
    hard_share: float = 0.45
    negative_share: float = 0.35
    harshest: float = 0.85
    fine_share: float = 0.5

    def __post_init__(self) -> None:
        if self.version != MIX:
            raise ConfigError(f"pairs are drawn by mix {MIX} here, got {self.version}; check out the one that has it")
        if self.removes not in get_args(Removes):
            raise ConfigError(f"removes must be one of {', '.join(get_args(Removes))}, got {self.removes!r}")
        for name in ("text_share", "hard_share", "negative_share", "harshest", "fine_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be 0 to 1, got {getattr(self, name)}")


def random_recipe(rng: np.random.Generator, mix: MixConfig, *, portrait: bool) -> Recipe:
    """One clip's drawing and damage. Scripts beyond the first six are drawn where a font for them is installed."""
    look = random_look(rng, mix.hard_share)
    if portrait:
        size, margin = look.style.size_share * 0.65, float(rng.uniform(0.02, 0.3))
        look = replace(look, style=replace(look.style, size_share=size, margin_share=margin))
    negatives, scene_texts = _negatives(rng) if rng.random() < mix.negative_share else ((), 0)
    return Recipe(
        look=look,
        timing=cast(TimingName, str(rng.choice(list(_TIMINGS), p=list(_TIMINGS.values())))),
        scripts=_scripts(look, rng),
        negatives=negatives,
        scene_texts=scene_texts,
        removes=mix.removes,
        damage=random_damage(rng, mix.harshest),
        seed=int(rng.integers(2**31)),
    )


def random_short_side_px(rng: np.random.Generator, mix: MixConfig) -> int:
    """Of the picture as the prior is shown it."""
    return int(rng.integers(COARSE_PX + 1, FINE_PX + 1)) if rng.random() < mix.fine_share else COARSE_PX


def _scripts(look: Look, rng: np.random.Generator) -> tuple[str, ...]:
    able = [*SCRIPTS, *(name for name in FURTHER if installed_faces(name))]
    if look.vertical:
        able = [name for name in able if name in VERTICAL]
    first, second = (able[int(rng.integers(len(able)))] for _ in range(2))
    return (first, second) if look.second_size > 0 and first != second else (first,)


def _negatives(rng: np.random.Generator) -> tuple[tuple[NegativeName, ...], int]:
    """One overlay or one or two pieces of scene text; now and then another overlay beside it."""
    names = list(get_args(NegativeName))
    rng.shuffle(names)
    beside = rng.random() < _SECOND_SHARE
    if rng.random() < _SCENE_SHARE:
        return tuple(names[: int(beside)]), 1 + int(rng.random() < 0.3)
    return tuple(names[: 1 + int(beside)]), 0


def check_same_mix(folder: Path, mix: MixConfig) -> None:
    """Write down what the shards of `folder` are drawn by, for a later run to be held against.

    Raises:
        ConfigError: the shards that are there were drawn by another mix.
    """
    path, asked = folder / _NAME, asdict(mix)
    before: Mapping[str, Any] = asked
    if path.exists():
        before = json.loads(path.read_text())
    elif any(folder.glob("shard-???.npy")):
        before = {"version": 1}
    differing = [name for name, value in asked.items() if name in before and before[name] != value]
    if differing:
        found, now = (", ".join(f"{name} {values[name]}" for name in differing) for values in (before, asked))
        raise ConfigError(f"{folder} was drawn with {found}, now asked for {now}; give the same, or another --run")
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asked) + "\n")
    partial.rename(path)
