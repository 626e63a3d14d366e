"""Windows of paired videos as latents of any base's VAE, for Stage II on the real model.

    python -m training.encoded_videos --base DIR --videos DIR --data DIR --device cuda

A shard holds one video: 81 consecutive frames, drawn by (seed, number), in the size of CLEAR's own rule (reference.md
6.2), as arrays of `training.latent_pairs`: clean and control float16 [N, 16, L, h, w], maps uint8 [N, L, h / 2, w / 2].
The control is the subtitled video, as in the paper, or with `--draft` what the runtime shows clear-tiny. Maps are what
the prior finds in the subtitled video; of the clean one it sees nothing, and no mask is read or kept.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from clear_rt.errors import ClearError, ConfigError
from clear_rt.models.dit import PATCH
from clear_rt.models.vae import Vae
from clear_rt.models.vae_config import VaeConfig
from clear_rt.models.weights import load_vae
from clear_rt.models.weights_folder import find_weights
from clear_rt.schedule import latents_of
from clear_rt.shapes import round_down
from training.found_maps import finder
from training.latent_pairs import drafted
from training.losses_two import prior_on_latents
from training.paired_videos import PairedVideo, covering, paired_videos, twins
from training.resumable import computes_bfloat16
from training.shards import write_shards

UInt8 = npt.NDArray[np.uint8]

MAX_PIXELS = 921_600
MULTIPLE_PX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingConfig:
    """`frames` = 4 k + 1 to a window, `windows` of every video; `max_pixels` of a picture; `prior` as of `finder`."""

    base: Path
    prior: Path | None = None
    frames: int = 81
    windows: int = 1
    max_pixels: int = MAX_PIXELS
    draft: bool = False
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class _Job:
    video: PairedVideo
    config: EncodingConfig


def encoding_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height in which Stage II sees a picture: of at most `max_pixels`, in multiples of 16."""
    ratio = max(sqrt(width * height / max_pixels), 1.0)
    return round_down(int(width / ratio), MULTIPLE_PX), round_down(int(height / ratio), MULTIPLE_PX)


def synthesise(videos: Path, folder: Path, config: EncodingConfig, seed: int) -> int:
    """Write the missing shards control-NNN.npy, clean-NNN.npy and maps-NNN.npy. Returns the windows written.

    Raises InputError as `paired_videos`, WeightsError as `find_weights`, ConfigError where no video is as long as a
    window. Shorter ones are left out.
    """
    latent_frames = find_weights(config.base).vae_config.latent_frames
    if config.frames % latent_frames != 1 % latent_frames:
        raise ConfigError(f"expected {latent_frames} k + 1 frames to a window, got {config.frames}; 81 is CLEAR's")
    long = [video for video in paired_videos(videos) if video.frames >= config.frames]
    if not long:
        raise ConfigError(f"expected videos of {config.frames} frames or more in {videos}, found none; give --frames")
    return write_shards("control", _shard, [_Job(video, config) for video in long], folder, seed)


def _shard(job: tuple[int, _Job, Path, int]) -> int:
    number, source, path, seed = job
    config, rng = source.config, np.random.default_rng([seed, number])
    found = find_weights(config.base)
    device = torch.device(config.device)
    dtype = torch.bfloat16 if device.type != "cpu" and computes_bfloat16(device.type) else torch.float32
    vae = load_vae(found.vae, found.vae_config, dtype).to(device)
    prior = finder(config.prior, config.device)
    arrays: dict[str, list[np.ndarray]] = {"clean": [], "maps": [], "control": []}
    for _ in range(config.windows):
        first = int(rng.integers(source.video.frames - config.frames + 1))
        subtitled, clean = _window(source.video, range(first, first + config.frames), config.max_pixels)
        maps = np.stack([prior(picture) for picture in subtitled])
        shown = drafted(subtitled, maps) if config.draft else subtitled
        arrays["clean"].append(encoded(vae, clean))
        arrays["control"].append(encoded(vae, shown))
        arrays["maps"].append(on_tokens(maps, subtitled.shape[1:3], found.vae_config))
    for name in ("clean", "maps"):
        np.save(path.with_name(path.name.replace("control", name)), np.stack(arrays[name]))
    partial = path.with_suffix(".partial.npy")
    np.save(partial, np.stack(arrays["control"]))
    partial.rename(path)
    return config.windows


def _window(video: PairedVideo, wanted: range, max_pixels: int) -> tuple[UInt8, UInt8]:
    """Subtitled and clean frames uint8 [F, H, W, 3] in the working size."""
    pairs = []
    for subtitled, clean in twins(video, wanted):
        size = encoding_size(subtitled.shape[1], subtitled.shape[0], max_pixels)
        pairs.append((covering(subtitled, *size), covering(clean, *size)))
    subtitled_frames, clean_frames = zip(*pairs, strict=True)
    return np.stack(subtitled_frames), np.stack(clean_frames)


@torch.inference_mode()
def encoded(vae: Vae, frames: UInt8) -> npt.NDArray[np.float16]:
    """Frames uint8 [F, H, W, 3] -> latents float16 [16, L, H / 8, W / 8], latent by latent: memory does not grow."""
    weight = next(vae.parameters())
    step, caches, latents = vae.config.latent_frames, None, list[Tensor]()
    for index in range(latents_of(len(frames), step)):
        part = frames[max(1 + step * (index - 1), 0) : 1 + step * index]
        given = torch.from_numpy(part.astype(np.float32) / 127.5 - 1).permute(3, 0, 1, 2)[None]
        latent, caches = vae.encoder_step(given.to(weight.device, weight.dtype), caches)
        latents.append(latent.float().cpu())
    return torch.cat(latents, 2)[0].half().numpy()


def on_tokens(maps: UInt8, size: tuple[int, int], config: VaeConfig) -> UInt8:
    """Maps uint8 [F, h, w] of pictures of `size` -> uint8 [L, rows, columns] of tokens, the strongest they cover."""
    rows, columns = (side // (config.latent_px * PATCH[1]) for side in size)
    tokens = functional.adaptive_max_pool2d(torch.from_numpy(maps).float()[None], (rows, columns))
    return prior_on_latents(tokens, config.latent_frames, 1)[0].to(torch.uint8).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("base", "videos", "data"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--prior", type=Path, help="prior.safetensors of Stage I at the paper's size, not the embedded")
    for name, default in (("frames", 81), ("windows", 1), ("max-pixels", MAX_PIXELS), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--draft", action="store_true", help="show the membrane's fill instead of the subtitled video")
    parser.add_argument("--device", default="cpu")
    options = vars(parser.parse_args())
    videos, data, seed = (options.pop(name) for name in ("videos", "data", "seed"))
    try:
        synthesise(videos, data, EncodingConfig(**options), seed)
    except ClearError as error:
        raise SystemExit(f"training: {error}") from None


if __name__ == "__main__":
    main()
