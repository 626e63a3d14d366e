"""`clear-rt remove` and `clear-rt detect`: options to a config and one call, for one video or for many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from clear_rt.batch import Done, Job, is_batch, jobs_of
from clear_rt.config import (
    Boxes,
    CompositeConfig,
    CompositeMode,
    DecoderName,
    DenoiseConfig,
    EncoderName,
    EngineName,
    FillMode,
    KernelsName,
    MatteConfig,
    Policy,
    Propagation,
    ReadConfig,
    RegionConfig,
    RunConfig,
    WriteConfig,
    refuse_model_options,
)
from clear_rt.console import Told
from clear_rt.errors import ConfigError
from clear_rt.option_types import (
    AsJson,
    Bitrate,
    BundleFolder,
    Crf,
    Keep,
    Lossless,
    Mask,
    MaxMemory,
    Rate,
    Raw,
    Regions,
    SmartCopy,
    Text,
    Times,
)
from clear_rt.option_values import Format, Sensitivity, at_sensitivity, bitrate_of, reading_of, region_of
from clear_rt.progress import bar
from clear_rt.removal_jobs import forecast_all, remove_all, remove_one, review_one
from clear_rt.watched import Watched

RUN, COMPOSITE, DENOISE, READ, WRITE = RunConfig(), CompositeConfig(), DenoiseConfig(), ReadConfig(), WriteConfig()
REGION = RegionConfig()


def remove(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="VIDEO...", help="Videos, folders or patterns to read; they are never changed."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE|DIR", help="Where the result goes.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Also what lies in folders below a folder.")] = False,
    jobs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='A video on every line, or {"input": ..., "output": ...}.'),
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out videos whose result is there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and how long it would take; write nothing.")
    ] = False,
    rate: Rate = None,
    raw: Raw = None,
    region: Regions = None,
    keep_region: Keep = None,
    time: Times = None,
    mask: Mask = None,
    text: Text = REGION.text,
    sensitivity: Annotated[Sensitivity, typer.Option(help="How eagerly text is looked for.")] = "normal",
    composite: Annotated[CompositeMode, typer.Option(help="How a generated fill meets the source.")] = COMPOSITE.mode,
    fill: Annotated[FillMode, typer.Option(help="What fills the place of the text.")] = COMPOSITE.fill,
    propagate: Annotated[
        Propagation, typer.Option(help="From which frames what they show behind the text is carried over.")
    ] = COMPOSITE.propagate,
    boxes: Annotated[
        Boxes, typer.Option(help="Whether semi-transparent boxes behind text are lifted off the picture or filled.")
    ] = COMPOSITE.boxes,
    engine: Annotated[EngineName, typer.Option(help="What runs the networks.")] = RUN.engine,
    kernels: Annotated[KernelsName, typer.Option(help="What the cuda engine computes with.")] = RUN.kernels,
    bundle: BundleFolder = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps of the model's fill; the bundle's default if left out.")
    ] = DENOISE.steps,
    policy: Annotated[
        Policy | None, typer.Option(help=f"How its windows are coupled; {DENOISE.policy} if left out.")
    ] = None,
    noise: Annotated[
        Path | None, typer.Option(metavar="FILE.npy", help="Noise to start from instead of drawn noise.")
    ] = DENOISE.noise,
    seed: Annotated[int | None, typer.Option(help=f"Seed of the model's noise; {DENOISE.seed} if left out.")] = None,
    max_memory: MaxMemory = None,
    decoder: Annotated[DecoderName, typer.Option(help="What decodes after the first pass.")] = READ.decoder,
    encoder: Annotated[EncoderName, typer.Option(help="What encodes the pictures.")] = WRITE.encoder,
    crf: Crf = WRITE.crf,
    bitrate: Bitrate = "auto",
    lossless: Lossless = False,
    smart_copy: SmartCopy = False,
    preview: Annotated[Path | None, typer.Option(metavar="FILE.png", help="A few frames: source, map, result.")] = None,
    compare: Annotated[Path | None, typer.Option(metavar="FILE.mp4", help="Source and result side by side.")] = None,
    review: Annotated[
        Path | None,
        typer.Option(metavar="FILE.mp4", help="Write source and result side by side, and no result: to look first."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html|DIR", help="What was done, as a page with frames before and after."),
    ] = None,
    as_json: AsJson = False,
) -> Told | int:
    """Find the subtitles of every VIDEO and remove them."""
    sources = videos or []
    if not sources and jobs is None:
        raise ConfigError("expected a video to remove subtitles from, got none; give VIDEO or --jobs FILE")
    sought, matte = at_sensitivity(
        region_of(region or [], keep_region or [], time or [], mask, text), MatteConfig(), sensitivity
    )
    config = RunConfig(
        region=sought,
        matte=matte,
        composite=CompositeConfig(mode=composite, fill=fill, propagate=propagate, boxes=boxes),
        denoise=_denoise(fill, steps, policy, noise, seed, max_memory),
        read=reading_of(decoder, rate, raw),
        write=WriteConfig(
            crf=crf, bitrate=bitrate_of(bitrate), lossless=lossless, encoder=encoder, smart_copy=smart_copy
        ),
        engine=engine,
        kernels=kernels,
        bundle=bundle,
    )
    if dry_run:
        if review or preview or compare or report or skip_existing:
            given = "--review, --preview, --compare, --report and --skip-existing"
            raise ConfigError(f"--dry-run writes nothing; leave out {given}")
        found = (
            jobs_of(sources, output or Path(), recursive=recursive, job_file=jobs)
            if is_batch(sources, jobs)
            else [_job(sources[0], output)]
        )
        return forecast_all(found, config, max_memory, as_json=as_json)
    if is_batch(sources, jobs):
        if preview or compare or review:
            raise ConfigError("--preview, --compare and --review show one video, several were given; leave them out")
        found = jobs_of(sources, output, recursive=recursive, job_file=jobs)
        return remove_all(found, config, max_memory, report, skip_existing=skip_existing, as_json=as_json)
    if review is not None:
        if output or preview or compare or report:
            raise ConfigError("--review writes nothing else; leave out --output, --preview, --compare and --report")
        return review_one(sources[0], review, config, max_memory, as_json=as_json)
    if output is None:
        raise ConfigError("expected where the result goes, got nothing; give --output FILE")
    job = _job(sources[0], output)
    from clear_rt.frames import is_there

    if skip_existing and is_there(job.target):
        skipped = json.dumps(Done(job).as_dict()) if as_json else f"{job.target} is there already: nothing was done"
        return Told(skipped)
    return remove_one(job, config, max_memory, Watched(preview, compare, report), as_json=as_json)


def detect(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video to look into.")],
    form: Annotated[Format, typer.Option("--format", help="What is printed.")] = "json",
    rate: Rate = None,
    raw: Raw = None,
    region: Regions = None,
    keep_region: Keep = None,
    time: Times = None,
    text: Text = REGION.text,
    sensitivity: Annotated[Sensitivity, typer.Option(help="How eagerly text is looked for.")] = "normal",
    bundle: BundleFolder = None,
) -> Told:
    """Print when and where there is text in VIDEO."""
    from clear_rt.detection import detect as look
    from clear_rt.detection import written

    boxes, keep, times = region or [], keep_region or [], time or []
    sought, matte = at_sensitivity(region_of(boxes, keep, times, text=text), MatteConfig(), sensitivity)
    with bar() as tell:
        config = RunConfig(region=sought, matte=matte, read=reading_of("auto", rate, raw), bundle=bundle)
        found = look(video, config, tell)
    return Told(written(found, form), "what was found")


def _denoise(
    fill: FillMode,
    steps: int | None,
    policy: Policy | None,
    noise: Path | None,
    seed: int | None,
    max_memory: str | None,
) -> DenoiseConfig:
    if fill == "membrane":
        refuse_model_options(steps=steps, policy=policy, noise=noise, seed=seed, **{"max-memory": max_memory})
    seed = DENOISE.seed if seed is None else seed
    return DenoiseConfig(policy=policy or DENOISE.policy, steps=steps, seed=seed, noise=noise)


def _job(source: Path, output: Path | None) -> Job:
    """Of one video; without a place for its result it would get its own name. Numbered pictures go to a folder."""
    from clear_rt.frames.sequence import is_pattern

    if output is None:
        target = Path(source.name)
    elif output.is_dir() or (is_pattern(source) and not output.suffix):
        target = output / source.name
    else:
        target = output
    return Job(source, target, Path(target.name))
