"""Subtitled and clean crops for Stage I: draw, compress after drawing, bring to the working size, crop, label.

A shard holds the pairs of one stretch of footage or one moving still. Shards are seeded by their own number, so an
interrupted run goes on where it stopped and gives the same data.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from clear_rt.burn.fonts import faces_for
from clear_rt.burn.render import Overlay, blend, render
from clear_rt.burn.scripts import SCRIPTS, random_line
from clear_rt.burn.styles import random_style
from training.losses import pseudo_label
from training.materials import TRAINING, fetch_clips, fetch_stills
from training.shards import write_shards

UInt8 = npt.NDArray[np.uint8]
Clip = list[UInt8]

CROP_HEIGHT_PX, CROP_WIDTH_PX = 160, 320
SHORT_SIDE_PX = 360
CLIP_FRAMES = 3
# Frames, both ends included: these of bbb.mp4 overlap the held-out bigbuckbunny.mp4 or carry lettering.
LEFT_OUT = {"bbb.mp4": ((850, 1350), (5100, 5300))}


@dataclass(frozen=True, slots=True)
class Stretch:
    """One shard's worth of background: frames start..stop of a video, or a still (stop == 0)."""

    path: Path
    start: int
    stop: int
    every: int
    pairs_per_clip: int


def stretches() -> list[Stretch]:
    """All backgrounds in a fixed order. Raises InputError where they cannot be fetched."""
    return plan(fetch_clips(TRAINING), fetch_stills())


def plan(clips: Mapping[str, Path], stills: Sequence[Path]) -> list[Stretch]:
    """The stretches of clips, given by name, and of stills; their order numbers the shards."""
    found = [Stretch(clips["vtest.avi"], s, s + 200, 40, 12) for s in range(0, 780, 200)]
    found += [Stretch(clips["box.mp4"], 0, 450, 20, 8), Stretch(clips["cup.mp4"], 0, 210, 20, 8)]
    for start in range(0, 14_300, 650):
        found.append(Stretch(clips["bbb.mp4"], start, start + 650, 24, 8))
    return found + [Stretch(path, 0, 0, 1, 50) for path in stills]


def left_out(name: str, index: int, frames: int = CLIP_FRAMES) -> bool:
    """Whether a run of pictures with frame `index` of the clip `name` in it could reach into a part left out."""
    return any(first <= index + frames and index <= last for first, last in LEFT_OUT.get(name, ()))


def footage(stretch: Stretch, frames: int = CLIP_FRAMES) -> Iterator[Clip]:
    """Runs of so many consecutive pictures, RGB, at most 720 rows."""
    with av.open(str(stretch.path)) as container:
        stream = container.streams.video[0]
        step = stream.time_base * stream.average_rate
        container.seek(round(stretch.start / step), stream=stream)
        clip: Clip = []
        for frame in container.decode(stream):
            index = round((frame.pts - stream.start_time) * step)
            if index >= stretch.stop:
                return
            unwanted = index < stretch.start or left_out(stretch.path.name, index, frames)
            if unwanted or index % stretch.every >= frames:
                continue
            clip = [] if index % stretch.every == 0 else clip
            clip.append(frame.to_ndarray(format="rgb24"))
            if len(clip) == frames:
                yield clip


def _moving_still(picture: Image.Image, rng: np.random.Generator) -> Clip:
    """A slow pan over a random window of a still, 720 rows at most."""
    width, height = picture.size
    share = rng.uniform(0.35, 0.95)
    window_h = min(height, width * 9 / 16) * share
    window_w = window_h * 16 / 9
    x, y = rng.uniform(0, width - window_w - 8), rng.uniform(0, max(height - window_h - 8, 1))
    dx, dy = rng.normal(0, 2, 2)
    clip = []
    for t in range(CLIP_FRAMES):
        x_t, y_t = np.clip(x + t * dx, 0, width - window_w), np.clip(y + t * dy, 0, height - window_h)
        clip.append(
            np.asarray(
                picture.resize((1280, 720), Image.Resampling.BILINEAR, (x_t, y_t, x_t + window_w, y_t + window_h))
            )
        )
    return clip


def _resize(clip: Clip, width: int, height: int) -> Clip:
    return [
        np.asarray(
            Image.fromarray(f).resize(
                (width, height), Image.Resampling.BOX if height < f.shape[0] else Image.Resampling.BICUBIC
            )
        )
        for f in clip
    ]


def _recast(clip: Clip, rng: np.random.Generator) -> Clip:
    """Another size, sometimes portrait, sometimes mirrored, sometimes darker or brighter."""
    height = int(rng.choice([240, 288, 360, 480, 720], p=[0.08, 0.07, 0.4, 0.25, 0.2]))
    if rng.random() < 0.15:
        h, w = clip[0].shape[:2]
        new_w = int(h * 9 / 16)
        x = int(rng.integers(0, w - new_w))
        clip, height = [f[:, x : x + new_w] for f in clip], round(height * 16 / 9)
    h, w = clip[0].shape[:2]
    clip = _resize(clip, round(w * height / h) // 2 * 2, height // 2 * 2)
    if rng.random() < 0.5:
        clip = [f[:, ::-1] for f in clip]
    if rng.random() < 0.4:
        gain, gamma = rng.uniform(0.5, 1.2), rng.uniform(0.7, 1.5)
        table = np.clip(255 * gain * (np.arange(256) / 255) ** gamma, 0, 255).astype(np.uint8)
        clip = [table[f] for f in clip]
    return [np.ascontiguousarray(f) for f in clip]


def captions(width: int, height: int, rng: np.random.Generator) -> list[Overlay]:
    """One caption of one or two lines, now and then a second one at the other edge."""
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


def _scene_text(clip: Clip, rng: np.random.Generator) -> Clip:
    """Lettering that belongs to the scene: tilted or sheared, soft, moving; drawn into both twins, so it must stay."""
    height, width = clip[0].shape[:2]
    script = SCRIPTS[str(rng.choice(list(SCRIPTS)))]
    style = replace(random_style(rng), size_share=float(rng.uniform(0.04, 0.3)), shift_share=0.0, margin_share=0.3)
    faces = faces_for(script.name)
    overlay = render(
        [random_line(script, rng)[:14]], script, style, faces[int(rng.integers(len(faces)))], width, height
    )
    if not overlay.rgba.size:
        return clip
    tilt = float(rng.choice([-1, 1]) * rng.uniform(8, 60))
    sign = Image.fromarray(overlay.rgba).rotate(tilt, Image.Resampling.BICUBIC, expand=True)
    sign = sign.resize((max(int(sign.width * rng.uniform(0.5, 1)), 1), sign.height))
    x, y = rng.uniform(-0.2, 0.9) * width, rng.uniform(-0.1, 0.9) * height
    speed = rng.normal(0, 3, 2)
    moved = []
    for t, frame in enumerate(clip):
        base = Image.fromarray(frame)
        base.paste(sign.convert("RGB"), (int(x + t * speed[0]), int(y + t * speed[1])), sign.getchannel("A"))
        moved.append(np.asarray(base))
    return moved


def compressed(clip: Clip, codec: str, options: dict[str, str], size: tuple[int, int], interpolation: str) -> Clip:
    """Encode, decode, scale to `size` (width, height) with swscale, as the runtime sees it."""
    height, width = clip[0].shape[:2]
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, 25)
        for t, picture in enumerate(clip):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = t
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        return [
            frame.reformat(*size, format="rgb24", interpolation=interpolation).to_ndarray()
            for frame in container.decode(video=0)
        ]


def random_codec(rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    name = str(rng.choice(["libx264", "mpeg4", "mpeg2video"], p=[0.75, 0.13, 0.12]))
    if name == "libx264":
        return name, {"crf": str(int(rng.integers(12, 33))), "preset": str(rng.choice(["ultrafast", "veryfast"]))}
    q = str(int(rng.integers(2, 9)))
    return name, {"flags": "+qscale", "global_quality": str(118 * int(q))}


def _crop_at(label: UInt8, rng: np.random.Generator, on_text: bool) -> tuple[slice, slice]:
    height, width = label.shape
    rows, columns = np.nonzero(label)
    if on_text and rows.size:
        k = int(rng.integers(rows.size))
        y = int(rows[k] - rng.uniform(0.1, 0.9) * CROP_HEIGHT_PX)
        x = int(columns[k] - rng.uniform(0.1, 0.9) * CROP_WIDTH_PX)
    else:
        y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
    y, x = min(max(y, 0), height - CROP_HEIGHT_PX), min(max(x, 0), width - CROP_WIDTH_PX)
    return slice(y, y + CROP_HEIGHT_PX), slice(x, x + CROP_WIDTH_PX)


def make_pair(clip: Clip, rng: np.random.Generator) -> Iterator[tuple[UInt8, UInt8, UInt8]]:
    """Two (subtitled, clean, label) crops from one clip: uint8 [160, 320, 3] twice and uint8 [160, 320]."""
    clip = _recast(clip, rng)
    if rng.random() < 0.2:
        clip = _scene_text(clip, rng)
    height, width = clip[0].shape[:2]
    subtitled = clip
    if rng.random() > 0.15:
        opacity = float(rng.uniform(0.3, 1.0)) if rng.random() < 0.1 else 1.0
        for overlay in captions(width, height, rng):
            subtitled = [blend(f, overlay, opacity) for f in subtitled]
    scale = SHORT_SIDE_PX / min(width, height)
    size = (round(width * scale / 2) * 2, round(height * scale / 2) * 2)
    codec, options = random_codec(rng)
    interpolation = str(rng.choice(["AREA", "BILINEAR", "BICUBIC"], p=[0.4, 0.4, 0.2]))
    clean = compressed(clip, codec, options, size, interpolation)
    subtitled = clean if subtitled is clip else compressed(subtitled, codec, options, size, interpolation)
    for t, on_text in ((len(clean) - 1, True), (int(rng.integers(len(clean))), bool(rng.random() < 0.5))):
        label = pseudo_label(subtitled[t], clean[t])
        at = _crop_at(label, rng, on_text)
        yield subtitled[t][at], clean[t][at], label[at]


def _shard(job: tuple[int, Stretch, Path, int]) -> int:
    number, stretch, path, seed = job
    rng = np.random.default_rng([seed, number])
    if stretch.stop == 0:
        still = Image.open(stretch.path).convert("RGB")
        still.thumbnail((3840, 2160))
        clips: Iterator[Clip] = (_moving_still(still, rng) for _ in range(stretch.pairs_per_clip))
        repeats = 1
    else:
        clips, repeats = footage(stretch), stretch.pairs_per_clip
    crops = [crop for clip in clips for _ in range(repeats) for crop in make_pair(clip, rng)]
    partial = path.with_suffix(".partial.npy")
    np.save(partial, np.stack([np.concatenate([s, c, m[..., None]], axis=2) for s, c, m in crops]))
    partial.rename(path)
    return len(crops)


def synthesise(folder: Path, seed: int) -> int:
    """Write the missing shards, uint8 [N, 160, 320, 7]: subtitled RGB, clean RGB, label. Returns the crops written."""
    return write_shards("shard", _shard, stretches(), folder, seed)
