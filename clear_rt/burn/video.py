"""`burn`: subtitles drawn into a video in its own pixel format, and the true mask of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from clear_rt.burn.config import BurnConfig
from clear_rt.burn.lines import Caption, disjoint, read_captions
from clear_rt.burn.recipe import Recipe
from clear_rt.burn.styles import Style
from clear_rt.config import WriteConfig
from clear_rt.errors import OutputError
from clear_rt.frames.atomic import check_target
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.plain import GRAY_LOSSLESS, PlainWriter
from clear_rt.frames.probe import probe
from clear_rt.frames.read import read
from clear_rt.frames.write import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnReport:
    """What `burn` did. `frames_with_text` counts those with something to remove. `missing_characters` are those that
    no font at hand could show, sorted; `dropped_streams` holds a sentence for each stream that the container could not
    take.
    """

    frames: int
    frames_with_text: int
    captions: int
    recipe: Recipe
    missing_characters: str
    dropped_streams: tuple[str, ...]

    @property
    def style(self) -> Style:
        return self.recipe.look.style


def burn(
    clean: Path,
    target: Path,
    config: BurnConfig | None = None,
    *,
    captions: Sequence[Caption] | None = None,
    mask: Path | None = None,
    twin: Path | None = None,
    write_config: WriteConfig | None = None,
    progress: Callable[[int], None] | None = None,
) -> BurnReport:
    """Draw subtitles into `clean` and write `target`; all other streams are kept.

    Lines come from `captions`, else from `config.subtitles`, else they are random. Times count from the first frame.
    Blending happens on the source's own samples: what no overlay covers reaches the encoder bit for bit, unless the
    video is damaged afterwards. `mask` (.mkv) gets the alpha of what is to be removed, 255 for opaque, as lossless
    8-bit gray video of the upright picture with the same times; what a damage moves, it moves in the mask as well.
    `twin` gets the video without what is to be removed: with what stays, and damaged in the same way. `progress` is
    given the number of frames done after each one.

    Raises:
        InputError: the video or the subtitle file cannot be read.
        OutputError: `target`, `mask` or `twin` cannot be written.
        ConfigError: Pillow, a font, the renderer or a codec is missing.
    """
    from clear_rt.burn.burning import burned
    from clear_rt.burn.drawing import Drawing

    config = config or BurnConfig()
    recipe, info, write = config.recipe(), probe(clean), write_config or WriteConfig()
    drawing = Drawing(recipe, info.width_px, info.height_px, _captions(config, captions))
    _check_apart(target, mask, twin)
    with ExitStack() as stack:
        mask_writer = stack.enter_context(_mask_writer(info, mask)) if mask is not None else None
        writer = stack.enter_context(Writer(info, target, write))
        twin_writer = stack.enter_context(Writer(info, twin, write)) if twin is not None else None
        frames = stack.enter_context(closing(read(info)))
        done, with_text = 0, 0
        for shot in burned(frames, info, drawing, recipe, twin=twin is not None):
            writer.write(shot.subtitled)
            if mask_writer is not None:
                mask_writer.write(shot.mask, shot.subtitled.time_us)
            if twin_writer is not None:
                twin_writer.write(shot.twin)
            done, with_text = done + 1, with_text + bool(shot.mask.any())
            if progress is not None:
                progress(done)
    return BurnReport(
        frames=done,
        frames_with_text=with_text,
        captions=drawing.painter.captions_shown,
        recipe=recipe,
        missing_characters="".join(sorted(drawing.painter.missing_characters)),
        dropped_streams=writer.dropped_streams,
    )


def _captions(config: BurnConfig, captions: Sequence[Caption] | None) -> Iterator[Caption] | None:
    """None: to be made up."""
    if captions is not None:
        return iter(disjoint(captions))
    return iter(disjoint(read_captions(config.subtitles))) if config.subtitles is not None else None


def _check_apart(target: Path, mask: Path | None, twin: Path | None) -> None:
    """Raises OutputError where two of the files are one."""
    named = [(target, "the output"), (mask, "the mask"), (twin, "the twin")]
    seen: dict[Path, str] = {}
    for path, what in named:
        if path is not None:
            other = seen.setdefault(path.resolve(), what)
            if other != what:
                raise OutputError(f"{what} {path} is {other} itself; choose another name for it")


def _mask_writer(info: VideoInfo, mask: Path) -> PlainWriter:
    check_target(info.path, mask)
    return PlainWriter(mask, info.width_px, info.height_px, info.rate, GRAY_LOSSLESS)
