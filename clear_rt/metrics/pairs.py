"""Which files of folders belong together: those of one name, or of one stem, at one place below them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clear_rt.batch import jobs_of
from clear_rt.errors import ConfigError, InputError
from clear_rt.metrics.videos import Videos

# Paths by their place below a folder, without the ending.
_Files = dict[Path, list[Path]]


@dataclass(frozen=True, slots=True)
class Pair:
    """`place` is that of the result below its folder, or without a result the partner's. Either the videos, or one
    sentence why there is nothing to compare.
    """

    place: Path
    videos: Videos | None = None
    failure: str | None = None


def are_folders(paths: Mapping[str, Path]) -> bool:
    """Whether these, by role, are folders. Raises ConfigError where some are and some are not."""
    folders = [name for name, path in paths.items() if path.is_dir()]
    if folders and len(folders) < len(paths):
        file = next(name for name in paths if name not in folders)
        raise ConfigError(
            f"expected files or folders, got the folder {paths[folders[0]]} as {folders[0]} and {paths[file]} as "
            f"{file}; give either files or folders throughout"
        )
    return bool(folders)


def pairs_of(folders: Mapping[str, Path], *, recursive: bool) -> list[Pair]:
    """Every video of the folder "result" with its partners in the others ("clean", "source", "mask"), in order.

    A partner has the same place and name, or else is the only one of the same stem there. Partners without a result
    come last: their pairs cannot be compared either. Raises InputError where a folder holds no videos.
    """
    files = {role: _files(role, folder, recursive=recursive) for role, folder in folders.items()}
    results = files["result"]
    found = [_pair(folders, files, path) for stems in results.values() for path in stems]
    lonely: dict[Path, str] = {}
    for role in (role for role in folders if role != "result"):
        for place, paths in files[role].items():
            if place not in results:
                lonely.setdefault(place, f"{role} {paths[0]} has no result of that name in {folders['result']}")
    rest = [Pair(place, failure=f"{said}; make one, or move it away") for place, said in sorted(lonely.items())]
    return found + rest


def _files(role: str, folder: Path, *, recursive: bool) -> _Files:
    try:
        jobs = jobs_of([folder], folder, recursive=recursive, job_file=None)
    except InputError as error:
        raise InputError(f"{role}: {error}") from None
    found: _Files = defaultdict(list)
    for job in jobs:
        found[job.place.with_suffix("")].append(job.source)
    return dict(found)


def _pair(folders: Mapping[str, Path], files: Mapping[str, _Files], result: Path) -> Pair:
    place = result.relative_to(folders["result"])
    partners: dict[str, Path] = {}
    for role in (role for role in folders if role != "result"):
        known = files[role].get(place.with_suffix(""), [])
        fitting = [path for path in known if path.name == place.name] or known
        if len(fitting) != 1:
            names = f"{len(fitting)} ({', '.join(path.name for path in fitting)})" if fitting else "none"
            return Pair(
                place,
                failure=f"expected one {role} video for {result} in {folders[role]}, found {names}; "
                f"give it the name {place}",
            )
        partners[role] = fitting[0]
    return Pair(place, Videos(result=result, **partners))
