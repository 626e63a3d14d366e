"""What a repository holds at a revision: asked of the hub, or, where that is switched off, of what is on disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from clear_rt.errors import WeightsError
from clear_rt.models.fetched import HubFile, read_record
from clear_rt.models.sources import HubId, cached_snapshot

_HEX = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_NAME = re.compile(r"[^\x00-\x1f\x7f\\:]+")
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository by name, at the commit that its revision is."""

    hub: HubId
    commit: str
    files: dict[str, HubFile]

    def __str__(self) -> str:
        return f"{self.hub.repository}@{self.commit}"


def listing(hub: HubId, fetched: Path | None) -> Listing:
    """The files of a repository. Under HF_HUB_OFFLINE=1 those in the cache of huggingface_hub, or those in `fetched`.

    Raises WeightsError, one sentence: no network, no such repository or revision, no access, no hub at HF_ENDPOINT,
    names that lead out of a folder; offline: neither cached nor fetched.
    """
    found = _offline(hub, fetched) if constants.is_offline_mode() else _online(hub)
    bad = [name for name in found.files if not _plain(name)]
    if bad:
        raise WeightsError(f"{found}: expected plain names of files, found {bad[0]!r}; do not use this repository")
    return found


@contextmanager
def hub_errors(hub: HubId) -> Iterator[None]:
    """Turns what huggingface_hub and its transport raise into WeightsError, one sentence without any address."""
    try:
        yield
    except GatedRepoError as error:
        raise _no_access(hub) from error
    except RevisionNotFoundError as error:
        raise WeightsError(
            f"{hub.repository}: expected the revision {hub.revision or 'main'} on the hub, found none; "
            "give a branch, a tag or a commit that it has"
        ) from error
    except RepositoryNotFoundError as error:
        raise _unknown(hub) from error
    except HfHubHTTPError as error:
        raise _answered(hub, error.response.status_code) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OfflineModeIsEnabled) as error:
        raise WeightsError(
            f"{hub}: expected an answer of the hub, found none ({type(error).__name__}); check the network and "
            "HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to use what is on disk"
        ) from error


def _online(hub: HubId) -> Listing:
    with hub_errors(hub):
        try:
            info = HfApi().model_info(hub.repository, revision=hub.revision, files_metadata=True, timeout=_TIMEOUT_S)
            listed = [
                HubFile(file.rfilename, file.size, file.lfs.sha256 if file.lfs is not None else None, file.blob_id)
                for file in info.siblings or ()
                if file.size is not None
            ]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            if isinstance(error, HfHubHTTPError):
                raise
            raise WeightsError(f"{hub}: expected the answer of a hub, found another; check HF_ENDPOINT") from error
    if info.sha is None or not _HEX.fullmatch(info.sha):
        raise WeightsError(f"{hub}: expected the hub to say a commit, found {info.sha!r}; check HF_ENDPOINT")
    return Listing(hub, info.sha, {file.name: file for file in listed})


def _offline(hub: HubId, fetched: Path | None) -> Listing:
    snapshot = cached_snapshot(hub)
    if snapshot is not None:
        paths = [path for path in sorted(snapshot.rglob("*")) if path.is_file()]
        return Listing(hub, snapshot.name, {file.name: file for file in (_cached(path, snapshot) for path in paths)})
    record = read_record(fetched) if fetched is not None else None
    if record is None or record.repository != hub.repository or hub.revision not in (record.revision, record.commit):
        raise WeightsError(
            f"{hub}: expected it in the cache of huggingface_hub, as HF_HUB_OFFLINE is set, found nothing; "
            "unset that, or point HF_HOME to a cache that has it"
        )
    return Listing(hub, record.commit, dict(record.files))


def _cached(path: Path, snapshot: Path) -> HubFile:
    """A file of a snapshot: what it links to is named by its hash, SHA-256 of large files, git's of small ones."""
    blob = path.resolve()
    known = blob.name if _HEX.fullmatch(blob.name) else ""
    name, size_bytes = path.relative_to(snapshot).as_posix(), blob.stat().st_size
    return HubFile(name, size_bytes, known if len(known) == 64 else None, known if len(known) == 40 else None)


def _plain(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not {"", ".", ".."} & set(name.split("/"))


def _no_access(hub: HubId) -> WeightsError:
    return WeightsError(
        f"{hub}: expected access, found it gated; accept its terms on its page at the hub, then run hf auth login or "
        "set HF_TOKEN"
    )


def _unknown(hub: HubId) -> WeightsError:
    return WeightsError(
        f"{hub.repository}: expected a repository on the hub, found none that may be seen; check its name, or run "
        "hf auth login if it is private"
    )


def _answered(hub: HubId, status: int) -> WeightsError:
    if status == 401:
        return _unknown(hub)
    if status == 403:
        return _no_access(hub)
    if status == 404:
        return WeightsError(
            f"{hub}: expected it on the hub, found nothing (HTTP 404); check its name, its revision and HF_ENDPOINT"
        )
    return WeightsError(f"{hub}: expected the hub to send it, found HTTP status {status}; try again later")
