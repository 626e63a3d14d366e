"""Videos that exist with and without subtitles, and Stage I's pictures out of them.

X.mp4 is the clean twin of X_with_subtitle.mp4, as in the released code's data (reference.md 8.2). Twenty pictures of a
video, evenly over its length, are brought to 1280 x 720 (or 720 x 1280), labelled whole by the paper's rule and cut to
352 x 640. The label is all that says where text is, and it is made of the two pictures alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from clear_rt.errors import InputError
from training.losses import paper_label
from training.shards import write_shards

UInt8 = npt.NDArray[np.uint8]

SUFFIX = "_with_subtitle"
PICTURES = 20
LONG_PX, SHORT_PX = 1280, 720
CROP_HEIGHT_PX, CROP_WIDTH_PX = 352, 640


@dataclass(frozen=True, slots=True)
class PairedVideo:
    """The two files, and how many pictures both have."""

    subtitled: Path
    clean: Path
    frames: int


def paired_videos(folder: Path) -> list[PairedVideo]:
    """All pairs of a folder, by name. Raises InputError where there is none, half of one, or twins differ in length."""
    found = []
    for subtitled in sorted(folder.glob(f"*{SUFFIX}.*")):
        clean = subtitled.with_name(subtitled.name.replace(SUFFIX, ""))
        if not clean.is_file():
            raise InputError(f"expected {clean.name} beside {subtitled}, found none; add the clean twin")
        frames, clean_frames = _count(subtitled), _count(clean)
        if frames != clean_frames:
            raise InputError(
                f"expected twins of one length, found {frames} frames in {subtitled} and {clean_frames} in {clean}; "
                "cut them alike"
            )
        found.append(PairedVideo(subtitled, clean, frames))
    if not found:
        raise InputError(f"expected X.mp4 and X{SUFFIX}.mp4 in {folder}, found no such pair; check the path")
    return found


def twins(video: PairedVideo, wanted: Sequence[int]) -> Iterator[tuple[UInt8, UInt8]]:
    """Subtitled and clean pictures uint8 [H, W, 3] with the numbers wanted, in order, both in the subtitled one's size.

    Raises InputError where a file cannot be decoded that far.
    """
    numbers, found = set(wanted), 0
    try:
        with av.open(str(video.subtitled)) as first, av.open(str(video.clean)) as second:
            both = zip(first.decode(video=0), second.decode(video=0), strict=False)
            for index, (subtitled, clean) in enumerate(both):
                if index in numbers:
                    found += 1
                    yield _rgb(subtitled, subtitled), _rgb(clean, subtitled)
                if found == len(numbers):
                    return
    except av.error.FFmpegError as error:
        raise InputError(f"expected {video.subtitled} and its twin to decode ({error}); copy them again") from error
    raise InputError(
        f"expected {video.frames} frames in {video.subtitled} and its twin, found fewer; copy or export them again"
    )


def covering(picture: UInt8, width: int, height: int) -> UInt8:
    """A picture scaled until it covers so many pixels, and cut to them around its middle (reference.md 6.2)."""
    rows, columns = picture.shape[:2]
    scale = max(width / columns, height / rows)
    scaled_w, scaled_h = max(round(columns * scale), width), max(round(rows * scale), height)
    if (scaled_h, scaled_w) != (rows, columns):
        picture = np.asarray(Image.fromarray(picture).resize((scaled_w, scaled_h), Image.Resampling.BILINEAR))
    top, left = (scaled_h - height) // 2, (scaled_w - width) // 2
    return picture[top : top + height, left : left + width]


def write_pairs(videos: Path, folder: Path, seed: int) -> int:
    """Write the missing shards, as `training.pairs.synthesise`. Returns the crops written. Raises as `paired_videos`.

    uint8 [N, 352, 640, 7]: subtitled RGB, clean RGB, label. At least six videos give a shard for validation.
    """
    return write_shards("shard", _shard, paired_videos(videos), folder, seed)


def _shard(job: tuple[int, PairedVideo, Path, int]) -> int:
    number, video, path, seed = job
    rng, crops = np.random.default_rng([seed, number]), []
    for subtitled, clean in twins(video, _evenly(video.frames)):
        upright = subtitled.shape[0] > subtitled.shape[1]
        width, height = (SHORT_PX, LONG_PX) if upright else (LONG_PX, SHORT_PX)
        pair = [covering(picture, width, height) for picture in (subtitled, clean)]
        label = paper_label(pair[0], pair[1])
        if label is not None:
            at = _crop_at(label, rng)
            crops.append(np.concatenate([pair[0][at], pair[1][at], label[at][..., None]], axis=2))
    partial = path.with_suffix(".partial.npy")
    np.save(partial, np.stack(crops) if crops else np.empty((0, CROP_HEIGHT_PX, CROP_WIDTH_PX, 7), np.uint8))
    partial.rename(path)
    return len(crops)


def _rgb(frame: av.VideoFrame, like: av.VideoFrame) -> UInt8:
    """A frame's picture in the size of another's."""
    return (
        frame.reformat(width=like.width, height=like.height, format="rgb24").to_ndarray().astype(np.uint8, copy=False)
    )


def _evenly(frames: int) -> list[int]:
    return np.unique(np.linspace(0, frames - 1, min(PICTURES, frames)).astype(int)).tolist()


def _crop_at(label: UInt8, rng: np.random.Generator) -> tuple[slice, slice]:
    """A crop with some labelled pixel in it, at a random place of the crop."""
    rows, columns = np.nonzero(label)
    k = int(rng.integers(rows.size))
    y = int(np.clip(rows[k] - rng.integers(CROP_HEIGHT_PX), 0, label.shape[0] - CROP_HEIGHT_PX))
    x = int(np.clip(columns[k] - rng.integers(CROP_WIDTH_PX), 0, label.shape[1] - CROP_WIDTH_PX))
    return slice(y, y + CROP_HEIGHT_PX), slice(x, x + CROP_WIDTH_PX)


def _count(path: Path) -> int:
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: expected a video, found no picture in it; take it out of the folder")
            stated = container.streams.video[0].frames
            return stated or sum(1 for _ in container.decode(video=0))
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: expected a video ({error}); take it out of the folder") from error
