"""`clear-rt remove` and `clear-rt detect`: options to a config and one call, for one video or for many."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from clear_rt import prose
from clear_rt.batch import MOST_FAILURES, Done, Job, is_batch, jobs_of, make_folder, run_all
from clear_rt.config import (
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
    ReadConfig,
    RunConfig,
    WriteConfig,
    refuse_model_options,
)
from clear_rt.console import Told, say, warn
from clear_rt.errors import ClearError, ConfigError
from clear_rt.option_types import (
    AsJson,
    Bitrate,
    BundleFolder,
    Crf,
    Keep,
    Lossless,
    Mask,
    MaxMemory,
    Regions,
    SmartCopy,
    Times,
)
from clear_rt.option_values import Format, Sensitivity, at_sensitivity, bitrate_of, region_of
from clear_rt.progress import bar
from clear_rt.report import Report
from clear_rt.watched import Watched

RUN, COMPOSITE, DENOISE, READ, WRITE = RunConfig(), CompositeConfig(), DenoiseConfig(), ReadConfig(), WriteConfig()


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
    region: Regions = None,
    keep_region: Keep = None,
    time: Times = None,
    mask: Mask = None,
    sensitivity: Annotated[Sensitivity, typer.Option(help="How eagerly text is looked for.")] = "normal",
    composite: Annotated[CompositeMode, typer.Option(help="How a generated fill meets the source.")] = COMPOSITE.mode,
    fill: Annotated[FillMode, typer.Option(help="What fills the place of the text.")] = COMPOSITE.fill,
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
        region_of(region or [], keep_region or [], time or [], mask), MatteConfig(), sensitivity
    )
    config = RunConfig(
        region=sought,
        matte=matte,
        composite=CompositeConfig(mode=composite, fill=fill),
        denoise=_denoise(fill, steps, policy, noise, seed, max_memory),
        read=ReadConfig(decoder=decoder),
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
        return _forecast(found, config, max_memory, as_json=as_json)
    if is_batch(sources, jobs):
        if preview or compare or review:
            raise ConfigError("--preview, --compare and --review show one video, several were given; leave them out")
        found = jobs_of(sources, output, recursive=recursive, job_file=jobs)
        return _remove_all(found, config, max_memory, report, skip_existing=skip_existing, as_json=as_json)
    if review is not None:
        if output or preview or compare or report:
            raise ConfigError("--review writes nothing else; leave out --output, --preview, --compare and --report")
        return _review(sources[0], review, config, max_memory, as_json=as_json)
    if output is None:
        raise ConfigError("expected where the result goes, got nothing; give --output FILE")
    job = _job(sources[0], output)
    if skip_existing and job.target.exists():
        skipped = json.dumps(Done(job).as_dict()) if as_json else f"{job.target} is there already: nothing was done"
        return Told(skipped)
    return _remove_one(job, config, max_memory, Watched(preview, compare, report), as_json=as_json)


def detect(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video to look into.")],
    form: Annotated[Format, typer.Option("--format", help="What is printed.")] = "json",
    region: Regions = None,
    keep_region: Keep = None,
    time: Times = None,
    sensitivity: Annotated[Sensitivity, typer.Option(help="How eagerly text is looked for.")] = "normal",
    bundle: BundleFolder = None,
) -> Told:
    """Print when and where there is text in VIDEO."""
    from clear_rt.detection import detect as look
    from clear_rt.detection import written

    sought, matte = at_sensitivity(region_of(region or [], keep_region or [], time or []), MatteConfig(), sensitivity)
    with bar() as tell:
        found = look(video, RunConfig(region=sought, matte=matte, bundle=bundle), tell)
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


def _remove_one(job: Job, config: RunConfig, max_memory: str | None, asked: Watched, *, as_json: bool) -> Told:
    from clear_rt.bundle import open_bundle
    from clear_rt.memory_plan.removal import admit_removal
    from clear_rt.remover import Remover
    from clear_rt.watching import watching

    opened = open_bundle(config.bundle)
    admit = admit_removal(job.source, config, opened, max_memory)
    remover = Remover(config, bundle=opened, admit=admit)
    short_side_px = remover.bundle.prior.short_side_px
    with ExitStack() as stack:
        watched = stack.enter_context(watching(job.source, job.target, asked, short_side_px))
        tell = stack.enter_context(bar(quiet=as_json))
        report = remover(job.source, job.target, tell, watched.observe)
        watched.report(report)
    warn(*report.dropped_streams, *report.notes)
    if report.video_copied and (asked.preview or asked.compare):
        warn("no text was found, so there is nothing to preview or to compare")
    text = json.dumps(report.as_dict()) if as_json else prose.summary(report)
    return Told(text, f"{job.target} is complete, but the report on it")


def _job(source: Path, output: Path | None) -> Job:
    """Of one video; without a place for its result it would get its own name."""
    target = Path(source.name) if output is None else output / source.name if output.is_dir() else output
    return Job(source, target, Path(target.name))


def _forecast(jobs: list[Job], config: RunConfig, max_memory: str | None, *, as_json: bool) -> int:
    """Returns how many videos nothing could be said of, at most `MOST_FAILURES`."""
    from clear_rt.bundle import open_bundle
    from clear_rt.forecast import Forecast, forecast
    from clear_rt.memory_plan.removal import admit_removal
    from clear_rt.remover import Remover

    opened = open_bundle(config.bundle)
    remover, found, failed = Remover(config, bundle=opened), list[Forecast](), 0
    for job in jobs:
        try:
            remover.admit = admit_removal(job.source, config, opened, max_memory)
            with bar(quiet=as_json) as tell:
                found.append(forecast(remover, job.source, job.target, tell))
        except ClearError as error:
            if len(jobs) == 1:
                raise
            warn(str(error))
            failed += 1
    told = json.dumps([one.as_dict() for one in found]) if as_json else prose.forecasts(found)
    say(Told(told, "the forecast"))
    return min(failed, MOST_FAILURES)


def _review(source: Path, target: Path, config: RunConfig, max_memory: str | None, *, as_json: bool) -> Told:
    from clear_rt.bundle import open_bundle
    from clear_rt.memory_plan.removal import admit_removal
    from clear_rt.remover import Remover
    from clear_rt.watching import write_review

    opened = open_bundle(config.bundle)
    remover = Remover(config, bundle=opened, admit=admit_removal(source, config, opened, max_memory))
    with bar(quiet=as_json) as tell:
        changed = write_review(remover, source, target, tell)
    if as_json:
        return Told(json.dumps({"source": str(source), "review": str(target), "frames_changed": changed}))
    return Told(f"{target} shows {source} and what would become of it: {changed} frames would change")


def _remove_all(
    jobs: list[Job],
    config: RunConfig,
    max_memory: str | None,
    pages: Path | None,
    *,
    skip_existing: bool,
    as_json: bool,
) -> int:
    """Returns how many videos failed, at most `MOST_FAILURES`."""
    from clear_rt.bundle import open_bundle
    from clear_rt.memory_plan.removal import admit_removal
    from clear_rt.remover import Remover
    from clear_rt.watching import watching

    opened = open_bundle(config.bundle)
    remover = Remover(config, bundle=opened)
    place, short_side_px = 0, opened.prior.short_side_px
    if pages is not None:
        make_folder(pages)

    def removed(job: Job) -> Report:
        remover.admit = admit_removal(job.source, config, opened, max_memory)
        page = None if pages is None else pages / job.place.with_name(f"{job.place.name}.html")
        if page is not None:
            make_folder(page.parent)
        with (
            watching(job.source, job.target, Watched(report=page), short_side_px) as watched,
            bar(quiet=as_json, title=f"{place + 1}/{len(jobs)} {job.source.name}") as tell,
        ):
            report = remover(job.source, job.target, tell, watched.observe)
            watched.report(report)
        return report

    def told(done: Done) -> None:
        nonlocal place
        place += 1
        if done.failure is not None:
            warn(done.failure)
        elif done.report is not None:
            warn(*done.report.dropped_streams, *done.report.notes)

    results = run_all(jobs, removed, skip_existing=skip_existing, told=told)
    failed = sum(done.failure is not None for done in results)
    say(Told(json.dumps([done.as_dict() for done in results]) if as_json else prose.batch(results)))
    return min(failed, MOST_FAILURES)
