"""A hub of models on this machine: as much of the Hugging Face hub as its client needs, and its ways to fail."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

LARGE_BYTES = 10_000


class Request(NamedTuple):
    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Repository:
    """`refs` are branches and tags by name; files above LARGE_BYTES are stored as the hub stores large files."""

    files: dict[str, bytes]
    commit: str = "a" * 40
    refs: tuple[str, ...] = ("main",)
    # What access to files, or to all of it, is answered with: a status and the hub's code for it.
    files_refused: tuple[int, str] | None = None
    refused: tuple[int, str] | None = None
    # What the listing says instead of the truth.
    claimed_bytes: dict[str, int] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=dict)


class Hub:
    """Repositories by name and, for the tests, every request that came.

    `cuts` is how many bytes of an answer with that file are sent before the connection is closed, one number for each
    answer to come; a negative one closes it when `release` is set, and sets `stalled` when it gets there.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, list[Repository]] = {}
        self.requests: list[Request] = []
        self.cuts: dict[str, list[int]] = {}
        self.ranges = True
        self.stalled, self.release = threading.Event(), threading.Event()
        self.url = ""

    def add(self, name: str, repository: Repository) -> None:
        self.repositories.setdefault(name, []).append(repository)

    def fetched(self, name: str) -> list[Request]:
        """Requests for the contents of a file."""
        return [r for r in self.requests if r.method == "GET" and "/resolve/" in r.path and r.path.endswith(f"/{name}")]


def is_large(content: bytes) -> bool:
    return len(content) > LARGE_BYTES


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub at `url`, until the block is left."""
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hub
    finally:
        hub.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(Request(self.command, path, self.headers["Range"], self.headers["Authorization"]))
        if path.startswith("/api/models/"):
            self._listing(path.removeprefix("/api/models/"))
        elif path.startswith("/cdn/"):
            self._content(*path.removeprefix("/cdn/").split("/", 3), body)
        else:
            self._resolve(path.removeprefix("/"), body)

    def _send(self, status, content=b"", body=True, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _refuse(self, status, code):
        self._send(status, b"", X_Error_Code=code, X_Error_Message="refused")

    def _repository(self, name, revision):
        """The repository at a revision; answers by itself and returns None where there is none."""
        found = self.hub.repositories.get(name)
        if found is None:
            return self._refuse(404, "RepoNotFound")
        for repository in found:
            if revision in (repository.commit, *repository.refs):
                if repository.refused is not None:
                    return self._refuse(*repository.refused)
                return repository
        return self._refuse(404, "RevisionNotFound")

    def _listing(self, path):
        name, _, revision = path.partition("/revision/")
        if name == "some/page":
            return self._send(200, b"<html>Log in to the network</html>")
        repository = self._repository(name, revision or "main")
        if repository is None:
            return None
        siblings = []
        for file, content in repository.files.items():
            size = repository.claimed_bytes.get(file, len(content))
            entry = {"rfilename": file, "size": size, "blobId": git_blob(content)}
            if is_large(content):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"size": size, "sha256": digest, "pointerSize": 130}
            siblings.append(entry)
        said = {
            "id": name,
            "sha": repository.commit,
            "siblings": siblings,
            "private": False,
            "downloads": 0,
            "tags": [],
        }
        return self._send(200, json.dumps(said).encode(), Content_Type="application/json")

    def _resolve(self, path, body):
        """Small files as they are, large ones by a redirect to another host, as the hub does."""
        name, _, rest = path.partition("/resolve/")
        revision, _, file = rest.partition("/")
        repository = self._repository(name, revision)
        if repository is None:
            return
        if repository.files_refused is not None:
            self._refuse(*repository.files_refused)
        elif file not in repository.files:
            self._refuse(404, "EntryNotFound")
        elif is_large(repository.files[file]):
            content = repository.files[file]
            host = self.hub.url.replace("127.0.0.1", "localhost")
            self._send(
                302,
                Location=f"{host}/cdn/{name}/{repository.commit}/{file}",
                X_Repo_Commit=repository.commit,
                X_Linked_Size=str(len(content)),
                X_Linked_Etag=f'"{hashlib.sha256(content).hexdigest()}"',
            )
        else:
            self._content(*name.split("/"), f"{repository.commit}", file, body)

    def _content(self, owner, name, commit, file, body):
        repository = next(r for r in self.hub.repositories[f"{owner}/{name}"] if r.commit == commit)
        content = repository.served.get(file, repository.files[file])
        begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if self.headers["Range"] else 0
        begin = begin if self.hub.ranges else 0
        etag = hashlib.sha256(content).hexdigest() if is_large(content) else git_blob(content)
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", commit)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return
        cuts = self.hub.cuts.get(file)
        sent = cuts.pop(0) if cuts else len(content)
        self.wfile.write(content[begin : begin + abs(sent)])
        if sent < 0:
            self.wfile.flush()
            self.hub.stalled.set()
            self.hub.release.wait()
        if abs(sent) < len(content) - begin:
            self.close_connection = True
