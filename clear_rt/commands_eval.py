"""`clear-rt eval`: a result, or a folder of them, beside what it should equal or what it was made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clear_rt import prose
from clear_rt.batch import MOST_FAILURES, make_folder
from clear_rt.console import Told, say, warn
from clear_rt.errors import ClearError, ConfigError
from clear_rt.option_types import AsJson
from clear_rt.progress import bar

if TYPE_CHECKING:
    from clear_rt.metrics.config import EvalConfig
    from clear_rt.metrics.judges import Judges
    from clear_rt.metrics.pairs import Pair
    from clear_rt.metrics.score import Evaluation
    from clear_rt.metrics.videos import Videos


def evaluate(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="A video without its text, or a folder of them.")],
    clean: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="The same before text was burned in; leave it out where there is none."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option(metavar="FILE|DIR", help="The subtitled video that RESULT was made of.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE|DIR", help="Where the text is, as `burn --mask` writes it.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Also what lies in folders below.")] = False,
    every_frames: Annotated[
        int, typer.Option(help="PSNR and changes come from all frames, the rest from every n-th (and the next one).")
    ] = 10,
    text: Annotated[
        bool, typer.Option("--text/--no-text", help="Look for text: most of the time, and needs RapidOCR.")
    ] = True,
    lpips_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="LPIPS: torchvision's AlexNet, alexnet-owt-7be5be79.pth of pytorch.org."),
    ] = None,
    lpips_heads: Annotated[
        Path | None, typer.Option(metavar="FILE", help="LPIPS: weights/v0.1/alex.pth of the PyPI package lpips.")
    ] = None,
    dists_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="DISTS: torchvision's VGG16, vgg16-397923af.pth of pytorch.org.")
    ] = None,
    dists_heads: Annotated[
        Path | None, typer.Option(metavar="FILE", help="DISTS: weights.pt of the PyPI package DISTS-pytorch.")
    ] = None,
    vfid_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="VFID: an I3D that you save as TorchScript, for RGB 0..1 [1, 3, 16, H, W]."),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png|DIR", help="Draw five frames: input, mask, result, clean, error; DIR for many."),
    ] = None,
    as_json: AsJson = False,
) -> Told | int:
    """Score RESULT beside --clean (the truth), --source (the input), or both: of files, or of folders by equal names.

    LPIPS, DISTS and VFID are measured only with weights that you point to; they need torch (the [train] extra).
    """
    from clear_rt.metrics.config import EvalConfig
    from clear_rt.metrics.pairs import are_folders, pairs_of
    from clear_rt.metrics.videos import Videos

    config = EvalConfig(
        every_frames=every_frames,
        find_text=text,
        lpips_weights=lpips_weights,
        lpips_heads=lpips_heads,
        dists_weights=dists_weights,
        dists_heads=dists_heads,
        vfid_weights=vfid_weights,
    )
    videos = Videos(result=result, clean=clean, source=source, mask=mask)
    if clean is None and config.needs_clean is not None:
        raise ConfigError(f"{config.needs_clean} compares with a clean video, and there is none; give --clean")
    if are_folders(videos.paths):
        return _many(pairs_of(videos.paths, recursive=recursive), config, sheet, as_json=as_json)
    return _one(videos, config, sheet, as_json=as_json)


def _one(videos: Videos, config: EvalConfig, sheet: Path | None, *, as_json: bool) -> Told:
    from clear_rt.metrics.judges import Judges

    if sheet is not None:
        _check_sheet(videos, sheet)
    with bar(quiet=as_json) as tell:
        found = _measured(videos, config, Judges.load(config), sheet, partial(_told, tell, "comparing"))
    return Told(json.dumps(found.as_dict()) if as_json else prose.scores(found.as_dict()))


def _many(pairs: list[Pair], config: EvalConfig, sheets: Path | None, *, as_json: bool) -> int:
    """Returns how many pairs failed, at most `MOST_FAILURES`."""
    from clear_rt.metrics.judges import Judges
    from clear_rt.metrics.mean import mean_of

    judges, found = Judges.load(config), list[dict[str, Any]]()
    for number, pair in enumerate(pairs, start=1):
        phase = f"pair {number} of {len(pairs)}"
        with bar(quiet=as_json) as tell:
            outcome = _outcome(pair, config, judges, sheets, partial(_told, tell, phase))
        if outcome["failure"] is not None:
            warn(outcome["failure"])
        found.append(outcome)
    scored = [one["evaluation"] for one in found if one["evaluation"] is not None]
    failed = len(found) - len(scored)
    document = {"pairs": found, "mean": mean_of(scored), "vfid": judges.pooled.vfid(), "failed": failed}
    say(Told(json.dumps(document) if as_json else prose.score_rows(document)))
    return min(failed, MOST_FAILURES)


def _told(tell: Callable[[str, int, int | None], None], phase: str, done: int) -> None:
    tell(phase, done, None)


def _outcome(
    pair: Pair, config: EvalConfig, judges: Judges, sheets: Path | None, progress: Callable[[int], None]
) -> dict[str, Any]:
    """JSON types. Whatever ends a pair is its failure; an interrupt ends all."""
    outcome: dict[str, Any] = {"place": str(pair.place), "videos": None, "failure": pair.failure, "evaluation": None}
    if pair.videos is None:
        return outcome
    outcome["videos"] = {role: str(path) for role, path in pair.videos.paths.items()}
    try:
        sheet = None if sheets is None else sheets / pair.place.with_name(f"{pair.place.name}.png")
        if sheet is not None:
            make_folder(sheet.parent)
        outcome["evaluation"] = _measured(pair.videos, config, judges, sheet, progress).as_dict()
    except ClearError as error:
        outcome["failure"] = str(error)
    except Exception as error:  # noqa: BLE001 - a defect of ours in one pair is no reason to leave the others
        outcome["failure"] = f"{pair.place} failed unexpectedly ({type(error).__name__}: {error})"
    return outcome


def _measured(
    videos: Videos, config: EvalConfig, judges: Judges, sheet: Path | None, progress: Callable[[int], None]
) -> Evaluation:
    from clear_rt.frames.still import write_png
    from clear_rt.metrics.evaluate import compare
    from clear_rt.metrics.sheet import Sheet

    drawn = None if sheet is None else Sheet()
    found = compare(videos, config, judges, progress, drawn)
    if sheet is not None and drawn is not None:
        write_png(sheet, drawn.page())
    return found


def _check_sheet(videos: Videos, sheet: Path) -> None:
    """Before the work. Raises OutputError where it cannot be written or is one of the videos."""
    from clear_rt.frames import check_target

    for path in videos.paths.values():
        check_target(path, sheet)
