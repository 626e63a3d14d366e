"""What the transformer is trained on: clean clips and drafts of their subtitled twins as latents, the prior's maps.

A shard is three arrays of one stretch: clean float16 [N, 16, L, 20, 20], control float16 [N, 16, L, 20, 20] (the
draft of the subtitled clip) and maps uint8 [N, L, 10, 10] on the grid of tokens, of all clips of `training.vae_clips`.
Captions are compressed with the clip after drawing, as every subtitled video is. No mask is kept: maps and drafts are
made of what the prior finds. Seeded by number, as `training.pairs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clear_rt.config import MatteConfig
from clear_rt.draft import draft
from clear_rt.matte import steady
from clear_rt.matte_planes import luma_alpha
from clear_rt.models.dit import PATCH
from clear_rt.shapes import Size, whole
from training.found_maps import Embedded
from training.losses_two import prior_on_latents
from training.pairs import UInt8, compressed, random_codec
from training.shards import write_shards
from training.vae import saved_vae
from training.vae_clips import FRAMES, SIDE_PX, caption_crop

# Pictures that a caption is drawn for; a crop of them is what the clip gets.
CANVASES_PX = ((512, 288), (640, 360), (854, 480), (1280, 720))
COMPRESSED_SHARE = 0.75
# Captions that come or go within the clip: what they hide can be seen in other frames.
PARTIAL_SHARE = 0.2
FAINT_SHARE, FAINTEST = 0.1, 0.4
# The prior was trained on pictures with this many rows (Stage I).
_PRIOR_ROWS_PX = 360


@dataclass(frozen=True, slots=True)
class Job:
    """One shard of clips, and the VAE that encodes it."""

    clips: Path
    vae: Path


class Captioned(NamedTuple):
    frames: UInt8
    canvas_height_px: int


def captioned(clean: UInt8, rng: np.random.Generator) -> Captioned:
    """A clip uint8 [17, 160, 160, 3] with a caption drawn and compressed; the rows of the picture it was made for."""
    width, height = CANVASES_PX[int(rng.integers(len(CANVASES_PX)))]
    caption = caption_crop(width, height, rng)
    alpha = caption[..., 3:].astype(np.float32) / 255
    if rng.random() < FAINT_SHARE:
        alpha *= rng.uniform(FAINTEST, 1.0)
    shown = np.ones((FRAMES, 1, 1, 1), np.float32)
    if rng.random() < PARTIAL_SHARE:
        change = int(rng.integers(1, FRAMES))
        shown[:change] = 0 if rng.random() < 0.5 else 1
        shown[change:] = 1 - shown[0]
    drawn = clean + (caption[..., :3].astype(np.float32) - clean) * (alpha * shown)
    frames = np.rint(drawn).astype(np.uint8)
    if rng.random() < COMPRESSED_SHARE:
        codec, options = random_codec(rng)
        frames = np.stack(compressed(list(frames), codec, options, (SIDE_PX, SIDE_PX), "BILINEAR"))
    return Captioned(frames, height)


def _shard(job: tuple[int, Job, Path, int]) -> int:
    number, source, path, seed = job
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, number, 1])
    vae, finder = saved_vae(source.vae), _finder()
    clean, control, maps = [], [], []
    for pictures in np.load(source.clips, mmap_mode="r"):
        video = captioned(np.asarray(pictures), rng)
        found = _found(finder, video)
        with torch.inference_mode():
            codes = vae.encode(_tensor([pictures, drafted(video.frames, found)])).half().numpy()
        clean.append(codes[0])
        control.append(codes[1])
        maps.append(_token_map(found, vae.config.latent_frames, vae.config.latent_px))
    for name, arrays in (("clean", clean), ("maps", maps)):
        np.save(path.with_name(path.name.replace("control", name)), np.stack(arrays))
    partial = path.with_suffix(".partial.npy")
    np.save(partial, np.stack(control))
    partial.rename(path)
    return len(control)


@cache
def _finder() -> Embedded:
    return Embedded()


def _found(finder: Embedded, video: Captioned) -> UInt8:
    """The maps uint8 [17, H, W] of a clip. The runtime shows the outliner more of what lies around text."""
    step = max(1, round(video.canvas_height_px / _PRIOR_ROWS_PX))
    return np.stack([finder.outlined(frame, np.ascontiguousarray(frame[::step, ::step])) for frame in video.frames])


def drafted(frames: UInt8, maps: UInt8) -> UInt8:
    """Frames uint8 [T, H, W, 3] filled under the matte of their maps uint8 [T, h, w], as the runtime fills them."""
    size = Size(frames.shape[2], frames.shape[1])
    alphas = (luma_alpha(matte, size, whole(size)) for matte in steady(iter(maps), MatteConfig()))
    return np.stack([draft(frame, alpha) for frame, alpha in zip(frames, alphas, strict=True)])


def _token_map(maps: UInt8, latent_frames: int, latent_px: int) -> npt.NDArray[np.uint8]:
    """Maps uint8 [17, H, W] on the grid of tokens, uint8 [L, rows, columns]: the strongest of what a token covers."""
    strongest = prior_on_latents(torch.from_numpy(maps)[None].float(), latent_frames, PATCH[1] * latent_px)
    return strongest[0].to(torch.uint8).numpy()


def _tensor(clips: list[UInt8]) -> Tensor:
    return torch.from_numpy(np.stack(clips).astype(np.float32) / 127.5 - 1).permute(0, 4, 1, 2, 3).contiguous()


def synthesise(folder: Path, clips: Path, vae: Path, seed: int) -> int:
    """Write the missing shards, control-NNN.npy, clean-NNN.npy and maps-NNN.npy. Returns the clips encoded."""
    jobs = [Job(path, vae) for path in sorted(clips.glob("clips-???.npy"))]
    return write_shards("control", _shard, jobs, folder, seed)
