"""`burn`: subtitles drawn into a video in its own pixel format, and the true mask of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clear_rt.burn.config import BurnConfig
from clear_rt.burn.lines import Caption, disjoint, endless_captions, read_captions
from clear_rt.burn.styles import Style
from clear_rt.config import WriteConfig
from clear_rt.errors import OutputError
from clear_rt.frames.atomic import check_target
from clear_rt.frames.frame import Frame
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.plain import GRAY_LOSSLESS, PlainWriter
from clear_rt.frames.probe import probe
from clear_rt.frames.read import read
from clear_rt.frames.write import Writer

if TYPE_CHECKING:
    from clear_rt.burn.layers import Layer
    from clear_rt.burn.painter import Painter


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnReport:
    """What `burn` did. `missing_characters` are those that no font at hand could show, sorted; `dropped_streams` holds
    a sentence for each stream that the container could not take.
    """

    frames: int
    frames_with_text: int
    captions: int
    style: Style
    missing_characters: str
    dropped_streams: tuple[str, ...]


def burn(
    clean: Path,
    target: Path,
    config: BurnConfig | None = None,
    *,
    captions: Sequence[Caption] | None = None,
    mask: Path | None = None,
    write_config: WriteConfig | None = None,
    progress: Callable[[int], None] | None = None,
) -> BurnReport:
    """Draw subtitles into `clean` and write `target`; all other streams are kept.

    Lines come from `captions`, else from `config.subtitles`, else they are random. Times count from the first frame.
    Blending happens on the source's own samples: what no overlay covers reaches the encoder bit for bit. `mask`
    (.mkv) gets the alpha that was blended, 255 for opaque, as lossless 8-bit gray video of the upright picture with
    the same times. `progress` is given the number of frames done after each one.

    Raises:
        InputError: the video or the subtitle file cannot be read.
        OutputError: `target` or `mask` cannot be written.
        ConfigError: Pillow or a font is missing.
    """
    from clear_rt.burn.painter import Painter

    config = config or BurnConfig()
    info = probe(clean)
    painter = Painter(config, info, _captions(config, captions))
    with ExitStack() as stack:
        mask_writer = stack.enter_context(_mask_writer(info, mask, target)) if mask is not None else None
        writer = stack.enter_context(Writer(info, target, write_config or WriteConfig()))
        frames = stack.enter_context(closing(read(info)))
        done, with_text = 0, 0
        for frame, layers in _burned(frames, painter):
            writer.write(frame)
            if mask_writer is not None:
                mask_writer.write(_alpha(layers, info), frame.time_us)
            done, with_text = done + 1, with_text + bool(layers)
            if progress is not None:
                progress(done)
    return BurnReport(
        frames=done,
        frames_with_text=with_text,
        captions=painter.captions_shown,
        style=painter.style,
        missing_characters="".join(sorted(painter.missing_characters)),
        dropped_streams=writer.dropped_streams,
    )


def _captions(config: BurnConfig, captions: Sequence[Caption] | None) -> Iterator[Caption]:
    if captions is not None:
        return iter(disjoint(captions))
    if config.subtitles is not None:
        return iter(disjoint(read_captions(config.subtitles)))
    return endless_captions(config.scripts, config.seed)


def _mask_writer(info: VideoInfo, mask: Path, target: Path) -> PlainWriter:
    check_target(info.path, mask)
    if mask.resolve() == target.resolve():
        raise OutputError(f"the mask {mask} is the output itself; choose another name for it")
    return PlainWriter(mask, info.width_px, info.height_px, info.rate, GRAY_LOSSLESS)


def _burned(frames: Iterable[Frame], painter: Painter) -> Iterator[tuple[Frame, tuple[Layer, ...]]]:
    """Each frame, drawn on in a copy where there is something to draw, and the layers on it."""
    first_us: int | None = None
    for frame in frames:
        first_us = frame.time_us if first_us is None else first_us
        layers = painter.layers(frame.time_us - first_us, frame.planes)
        drawn = frame.edited() if layers else frame
        for layer in layers:
            layer.blend(drawn.planes)
        yield drawn, layers


def _alpha(layers: Iterable[Layer], info: VideoInfo) -> npt.NDArray[np.uint8]:
    """What all layers together cover: uint8 [H, W]. Where two overlap, as if one were laid over the other."""
    alpha = np.zeros((info.height_px, info.width_px), np.uint8)
    for layer in layers:
        height_px, width_px = layer.alpha.shape
        window = alpha[layer.y_px : layer.y_px + height_px, layer.x_px : layer.x_px + width_px]
        through = (255 - window.astype(np.float32)) * (255 - layer.alpha.astype(np.float32)) / 255
        window[...] = np.ceil(255 - through).astype(np.uint8)
    return alpha
