"""Many videos by one remover: what they are, and what became of each. One that fails does not stop the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

from clear_rt.errors import ClearError, ConfigError, InputError, OutputError
from clear_rt.report import Report

MOST_FAILURES = 99


@dataclass(frozen=True, slots=True)
class Job:
    """`place` is that of the result below the folder of results, for what lies beside it elsewhere."""

    source: Path
    target: Path
    place: Path


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a job: its report, or one sentence why there is none, or neither where it was left out."""

    job: Job
    report: Report | None = None
    failure: str | None = None

    @property
    def outcome(self) -> str:
        return "failed" if self.failure else "skipped" if self.report is None else "done"

    def as_dict(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "source": str(self.job.source),
            "target": str(self.job.target),
            "outcome": self.outcome,
            "failure": self.failure,
            "report": None if self.report is None else self.report.as_dict(),
        }


def is_batch(sources: Sequence[Path], job_file: Path | None) -> bool:
    """Whether these are more than one video, or might be."""
    return job_file is not None or len(sources) != 1 or sources[0].is_dir() or _is_pattern(sources[0])


def jobs_of(sources: Sequence[Path], output: Path | None, *, recursive: bool, job_file: Path | None) -> list[Job]:
    """Every video of files, folders and patterns, with its place below the folder `output`; those of a job file first.

    Below a folder that was named, names and folders stay. Raises ConfigError where a folder is needed or two results
    would be one file, InputError where there is no such video.
    """
    jobs = [] if job_file is None else _listed(job_file, output)
    if sources and output is None:
        raise ConfigError("several videos need a folder for their results; give --output DIR")
    for source in sources:
        assert output is not None
        found = list(_videos(source, recursive=recursive))
        if not found:
            raise InputError(f"expected videos in {source}, found none; {_hint(source, recursive=recursive)}")
        jobs += [Job(path, output / place, place) for path, place in found]
    _check_apart(jobs)
    return jobs


def run_all(
    jobs: Iterable[Job],
    remove: Callable[[Job], Report],
    *,
    skip_existing: bool,
    told: Callable[[Done], None] = lambda done: None,
) -> list[Done]:
    """All jobs in order. Whatever ends one is told of and kept as its failure; an interrupt ends all."""
    from clear_rt.frames import is_there

    results = []
    for job in jobs:
        done = Done(job)
        if not (skip_existing and is_there(job.target)):
            try:
                make_folder(job.target.parent)
                done = Done(job, remove(job))
            except ClearError as error:
                done = Done(job, failure=str(error))
            except Exception as error:  # noqa: BLE001 - a defect of ours in one video is no reason to leave the others
                done = Done(job, failure=f"{job.source} failed unexpectedly ({type(error).__name__}: {error})")
        told(done)
        results.append(done)
    return results


def make_folder(folder: Path) -> None:
    """With those above it. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"expected a folder at {folder}, but it cannot be made: {why}; choose another") from None


def _videos(source: Path, *, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """Videos, and where each belongs below the folder of results: numbered pictures in a folder of their own."""
    from clear_rt.frames.sequence import is_pattern

    if source.is_dir():
        known = _endings()
        for path in sorted(source.glob("**/*" if recursive else "*")):
            place = path.relative_to(source)
            is_hidden = any(part.startswith(".") for part in place.parts)
            if path.suffix.lower() in known and path.is_file() and not is_hidden:
                yield path, place
    elif not source.exists() and _is_pattern(source):
        for name in sorted(glob(str(source), recursive=recursive)):
            path = Path(name)
            if path.is_file():
                yield path, Path(path.name)
    elif is_pattern(source):
        yield source, Path(source.absolute().parent.name, source.name)
    else:
        yield source, Path(source.name)


def _is_pattern(path: Path) -> bool:
    return any(sign in str(path) for sign in "*?[") and not path.exists()


def _endings() -> list[str]:
    """Of files that can be written, too, and say themselves what they hold."""
    from clear_rt.frames.atomic import MUXERS
    from clear_rt.frames.demuxing import RAW_ENDINGS

    return sorted(MUXERS.keys() - set(RAW_ENDINGS))


def _hint(source: Path, *, recursive: bool) -> str:
    known = f"{' '.join(_endings())}; numbered pictures are named as {source / '%05d.png'}"
    if source.is_dir() and not recursive:
        return f"give --recursive where they lie in folders below, or one with files that end in {known}"
    return f"give a place with files that end in {known}"


def _listed(job_file: Path, output: Path | None) -> list[Job]:
    """Lines of a path each, or of {"input": ..., "output": ...}; empty ones and those that begin with # are none."""
    try:
        lines = job_file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise InputError(
            f"--jobs {job_file} cannot be read ({reason}); give a file with a video on every line"
        ) from None
    jobs = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            jobs.append(_job(text, output, f"line {number} of {job_file}"))
    return jobs


def _job(text: str, output: Path | None, where: str) -> Job:
    fields = {"input": text}
    if text.startswith("{"):
        try:
            fields = json.loads(text)
        except ValueError:
            raise InputError(
                f'{where}: expected a path or {{"input": ..., "output": ...}}, got {text[:60]!r}'
            ) from None
        if not {"input"} <= fields.keys() <= {"input", "output"} or not all(
            isinstance(v, str) for v in fields.values()
        ):
            raise InputError(f'{where}: expected the fields "input" and "output", texts both, got {text[:60]!r}')
    source = Path(fields["input"])
    if "output" in fields:
        target = Path(fields["output"])
        return Job(source, target, Path(*target.absolute().parts[1:]))
    if output is None:
        raise ConfigError(f"{where} names no result; give --output DIR, or an output on every line")
    return Job(source, output / source.name, Path(source.name))


def _check_apart(jobs: Sequence[Job]) -> None:
    taken: dict[Path, Path] = {}
    for job in jobs:
        other = taken.setdefault(job.target.absolute(), job.source)
        if other is not job.source:
            raise ConfigError(
                f"the results of {other} and {job.source} would both be {job.target}; "
                "give them different names or run them one by one"
            )
