"""One file of a repository: continued where an earlier try stopped, compared with its hash, then given its name.

huggingface_hub's own download begins a file anew with every process, which is 11 GB for the text encoder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx2
from huggingface_hub import (
    constants,
    get_session,
    get_token,
    hf_hub_url,
    hf_raise_for_status,
    try_to_load_from_cache,
)
from huggingface_hub.errors import HfHubHTTPError

from clear_rt.errors import OutputError, WeightsError
from clear_rt.export.fetch_listing import Listing, hub_errors
from clear_rt.models.fetched import HubFile
from clear_rt.version import __version__

_CHUNK_BYTES = 2**20
# Waits before another try after one that brought nothing; after one that brought something there is none.
_WAITS_S = (1.0, 4.0)
_TOO_MANY, _SERVER = 429, 500

Tell = Callable[[int], None]


def cached_file(listing: Listing, name: str) -> Path | None:
    """The same file in the cache of huggingface_hub, what its link leads to."""
    found = try_to_load_from_cache(listing.hub.repository, name, revision=listing.commit)
    return Path(found).resolve() if isinstance(found, str) else None


def partial_file(target: Path, commit: str) -> Path:
    """Where a file lies until it is complete. The commit keeps two revisions from being mixed."""
    return target.with_name(f".{target.name}.{commit[:12]}.partial")


def is_same(path: Path, file: HubFile) -> bool:
    """Whether a file has the size and, where one is known, the hash that the repository says."""
    expected = file.sha256 or file.blob
    if path.stat().st_size != file.size_bytes or expected is None:
        return path.stat().st_size == file.size_bytes
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)
    with path.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest() == expected


def fetch_file(listing: Listing, file: HubFile, target: Path, tell: Tell) -> None:
    """Makes `target`, from the cache where it is there. `tell(bytes so far)` is called as it goes on.

    Raises WeightsError where the hub does not send it, or another file; OutputError where another process fetches it;
    OSError where it cannot be written. What came until then stays in `partial_file`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_file(target, listing.commit)
    cached = cached_file(listing, file.name)
    if cached is not None and is_same(cached, file):
        _take(cached, target, partial)
        tell(file.size_bytes)
        return
    for stale in target.parent.glob(f".{target.name}.*.partial"):
        if stale != partial:
            stale.unlink()
    with partial.open("ab") as out:
        _lock(out, target)
        with hub_errors(listing.hub):
            _append(listing, file, out, tell)
        out.flush()
        os.fsync(out.fileno())
    if not is_same(partial, file):
        partial.unlink()
        raise WeightsError(f"{listing}: {file.name} is not what the hub announced, or was damaged; fetch it again")
    partial.replace(target)


def _take(cached: Path, target: Path, partial: Path) -> None:
    """A second name for the file in the cache, or a copy where the disk is another one."""
    try:
        os.link(cached, target)
    except OSError:
        shutil.copyfile(cached, partial)
        partial.replace(target)


def _lock(out: BinaryIO, target: Path) -> None:
    try:
        fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"{target} is being fetched by another process; wait until that is done") from None
    except OSError:
        # A disk without locks: the hash tells where two processes wrote.
        return


def _append(listing: Listing, file: HubFile, out: BinaryIO, tell: Tell) -> None:
    """Appends what is missing. Reconnects at once while connections bring something. Raises what httpx2 raises."""
    waits_s = iter(_WAITS_S)
    while (begun := out.tell()) != file.size_bytes:
        try:
            _receive(listing, file, out, tell)
            if out.tell() == begun:
                raise WeightsError(f"{listing}: the hub sent nothing of {file.name}; try again later")
        except (httpx2.TransportError, HfHubHTTPError) as error:
            if out.tell() != begun:
                continue
            wait_s = next(waits_s, None)
            if wait_s is None or not _passes(error):
                raise
            time.sleep(wait_s)


def _passes(error: httpx2.TransportError | HfHubHTTPError) -> bool:
    """Whether another try may end otherwise."""
    if not isinstance(error, HfHubHTTPError):
        return True
    return error.response.status_code == _TOO_MANY or error.response.status_code >= _SERVER


def _receive(listing: Listing, file: HubFile, out: BinaryIO, tell: Tell) -> None:
    """One request, from where `out` ends."""
    if out.tell() > file.size_bytes:
        _empty(out)
    url = hf_hub_url(listing.hub.repository, file.name, revision=listing.commit)
    headers, timeout_s = _headers(out.tell()), constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout_s) as answer:
        hf_raise_for_status(answer)
        if out.tell() and answer.status_code != httpx2.codes.PARTIAL_CONTENT:
            _empty(out)
        for chunk in answer.iter_bytes():
            out.write(chunk)
            tell(out.tell())
            if out.tell() > file.size_bytes:
                return


def _headers(begun_bytes: int) -> dict[str, str]:
    # Compressed text could not be continued in the middle.
    headers = {"User-Agent": f"clear-rt/{__version__}", "Accept-Encoding": "identity"}
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if begun_bytes:
        headers["Range"] = f"bytes={begun_bytes}-"
    return headers


def _empty(out: BinaryIO) -> None:
    out.truncate(0)
    out.seek(0)
