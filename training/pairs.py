"""Subtitled and clean crops for Stage I: draw, compress after drawing, bring to one of the prior's sizes, crop, label.

A shard holds the pairs of one stretch of footage or one moving still. Shards are seeded by their own number, so an
interrupted run goes on where it stopped and gives the same data. What is drawn stands in `training.mix`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from clear_rt.burn.fonts import faces_for
from clear_rt.burn.render import Overlay, render
from clear_rt.burn.scripts import SCRIPTS, random_line
from clear_rt.burn.styles import random_style
from training.backgrounds import Clip, Stretch, UInt8, footage, moving_still, recast, stretches
from training.drawn_pair import damage_pair, draw_pair, label_of
from training.mix import MixConfig, check_same_mix, random_recipe, random_short_side_px
from training.recompressed import compressed, random_codec
from training.shards import write_shards

__all__ = [
    "Clip",
    "Stretch",
    "UInt8",
    "captions",
    "compressed",
    "footage",
    "make_pair",
    "random_codec",
    "stretches",
    "synthesise",
]

CROP_HEIGHT_PX, CROP_WIDTH_PX = 160, 320
# Of the crops that are not to show what is labelled, those that show what stays, where something does.
_STAYS_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Job:
    """One shard's background and what is drawn over it."""

    stretch: Stretch
    mix: MixConfig


def captions(width: int, height: int, rng: np.random.Generator) -> list[Overlay]:
    """One caption of one or two lines that stands still, now and then a second one at the other edge; for
    `training.vae_clips`.
    """
    overlays: list[Overlay] = []
    top = False
    for _ in range(1 + int(rng.random() < 0.08)):
        script = SCRIPTS[str(rng.choice(list(SCRIPTS)))]
        faces = faces_for(script.name)
        style = random_style(rng)
        if height > width:
            style = replace(style, size_share=style.size_share * 0.65, margin_share=float(rng.uniform(0.02, 0.3)))
        style = replace(style, top=not top) if overlays else style
        top = style.top
        lines = [random_line(script, rng) for _ in range(1 + int(rng.random() < 0.35))]
        face = faces[int(rng.integers(len(faces)))]
        overlay = render(lines, script, style, face, width, height, float(rng.uniform(0.1, 0.9)))
        if overlay.rgba.size:
            overlays.append(overlay)
    return overlays


def _crop_at(wanted: UInt8, rng: np.random.Generator) -> tuple[slice, slice]:
    """A crop with some pixel of `wanted` in it, or anywhere where there is none."""
    height, width = wanted.shape
    rows, columns = np.nonzero(wanted)
    if rows.size:
        k = int(rng.integers(rows.size))
        y = int(rows[k] - rng.uniform(0.1, 0.9) * CROP_HEIGHT_PX)
        x = int(columns[k] - rng.uniform(0.1, 0.9) * CROP_WIDTH_PX)
    else:
        y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
    y, x = min(max(y, 0), height - CROP_HEIGHT_PX), min(max(x, 0), width - CROP_WIDTH_PX)
    return slice(y, y + CROP_HEIGHT_PX), slice(x, x + CROP_WIDTH_PX)


def make_pair(
    clip: Clip, rng: np.random.Generator, mix: MixConfig | None = None
) -> Iterator[tuple[UInt8, UInt8, UInt8]]:
    """Two (subtitled, clean, label) crops from one clip: uint8 [160, 320, 3] twice and uint8 [160, 320]."""
    mix = mix or MixConfig()
    clip = recast(clip, rng)
    height, width = clip[0].shape[:2]
    recipe = random_recipe(rng, mix, portrait=height > width)
    drawn = draw_pair(clip, recipe, rng, text=bool(rng.random() < mix.text_share))
    scale = random_short_side_px(rng, mix) / min(width, height)
    size = (round(width * scale / 2) * 2, round(height * scale / 2) * 2)
    pair = damage_pair(drawn, recipe, size, str(rng.choice(["AREA", "BILINEAR", "BICUBIC"], p=[0.4, 0.4, 0.2])))
    last = len(pair.clean) - 1
    for t, on_text in ((last, True), (int(rng.integers(len(pair.clean))), bool(rng.random() < 0.5))):
        label = label_of(drawn, recipe, size, t)
        stays = pair.stays if rng.random() < _STAYS_SHARE else np.zeros_like(pair.stays)
        at = _crop_at(label if on_text and label.any() else stays, rng)
        yield pair.subtitled[t][at], pair.clean[t][at], label[at]


def _shard(job: tuple[int, Job, Path, int]) -> int:
    number, drawn, path, seed = job
    stretch, mix = drawn.stretch, drawn.mix
    rng = np.random.default_rng([seed, number])
    if stretch.stop == 0:
        still = Image.open(stretch.path).convert("RGB")
        still.thumbnail((3840, 2160))
        clips: Iterator[Clip] = (moving_still(still, rng) for _ in range(stretch.pairs_per_clip))
        repeats = 1
    else:
        clips, repeats = footage(stretch), stretch.pairs_per_clip
    crops = [crop for clip in clips for _ in range(repeats) for crop in make_pair(clip, rng, mix)]
    partial = path.with_suffix(".partial.npy")
    np.save(partial, np.stack([np.concatenate([s, c, m[..., None]], axis=2) for s, c, m in crops]))
    partial.rename(path)
    return len(crops)


def synthesise(folder: Path, seed: int, mix: MixConfig | None = None) -> int:
    """Write the missing shards, uint8 [N, 160, 320, 7]: subtitled RGB, clean RGB, label. Returns the crops written.

    Raises:
        ConfigError: the shards that are there were drawn by another mix.
        InputError: the backgrounds cannot be fetched.
    """
    mix = mix or MixConfig()
    check_same_mix(folder, mix)
    return write_shards("shard", _shard, [Job(stretch, mix) for stretch in stretches()], folder, seed)
