"""What `clear-rt remove` was asked for, done: one removal or many, a forecast, or a review."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from clear_rt import prose
from clear_rt.batch import MOST_FAILURES, Done, Job, make_folder, run_all
from clear_rt.config import ReadConfig, RunConfig
from clear_rt.console import Told, say, warn
from clear_rt.errors import ClearError
from clear_rt.progress import bar, batch_bar
from clear_rt.report import Report
from clear_rt.watched import Watched


def remove_one(job: Job, config: RunConfig, max_memory: str | None, asked: Watched, *, as_json: bool) -> Told:
    from clear_rt.bundle import open_bundle
    from clear_rt.memory_plan.removal import admit_removal
    from clear_rt.remover import Remover
    from clear_rt.watching import watching

    opened = open_bundle(config.bundle)
    admit = admit_removal(job.source, config, opened, max_memory)
    remover = Remover(config, bundle=opened, admit=admit)
    short_side_px = remover.bundle.prior.short_side_px
    with ExitStack() as stack:
        watched = stack.enter_context(watching(job.source, job.target, asked, short_side_px, config.read))
        tell = stack.enter_context(bar(quiet=as_json))
        report = remover(job.source, job.target, tell, watched.observe)
        watched.report(report)
    warn(*report.dropped_streams, *report.notes)
    if report.video_copied and (asked.preview or asked.compare):
        warn("no text was found, so there is nothing to preview or to compare")
    text = json.dumps(report.as_dict()) if as_json else prose.summary(report)
    return Told(text, f"{job.target} is complete, but the report on it")


def forecast_all(jobs: list[Job], config: RunConfig, max_memory: str | None, *, as_json: bool) -> int:
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


def review_one(source: Path, target: Path, config: RunConfig, max_memory: str | None, *, as_json: bool) -> Told:
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


def remove_all(
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
    if pages is not None:
        make_folder(pages)

    def removed(job: Job) -> Report:
        remover.admit = admit_removal(job.source, config, opened, max_memory)
        page = None if pages is None else pages / job.place.with_name(f"{job.place.name}.html")
        if page is not None:
            make_folder(page.parent)
        with watching(job.source, job.target, Watched(report=page), opened.prior.short_side_px, config.read) as watched:
            report = remover(job.source, job.target, whole.tell, watched.observe)
            watched.report(report)
        return report

    def told(done: Done) -> None:
        if done.failure is not None:
            warn(done.failure)
        elif done.report is not None:
            warn(*done.report.dropped_streams, *done.report.notes)
        whole.end()

    with batch_bar([job.source.name for job in jobs], lambda: _frames_of(jobs, config.read), quiet=as_json) as whole:
        results = run_all(jobs, removed, skip_existing=skip_existing, told=told)
    failed = sum(done.failure is not None for done in results)
    say(Told(json.dumps([done.as_dict() for done in results]) if as_json else prose.batch(results)))
    return min(failed, MOST_FAILURES)


def _frames_of(jobs: Sequence[Job], read: ReadConfig) -> list[int | None]:
    """As far as the files say; 0 of those that cannot be read, which take no time."""
    from clear_rt.frames import probe

    found: list[int | None] = []
    for job in jobs:
        try:
            found.append(probe(job.source, read).frames_estimate)
        except ClearError:
            found.append(0)
    return found
