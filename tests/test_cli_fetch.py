"""`clear-rt fetch` against a hub on this machine: what it brings, what it leaves, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys

import pytest

pytest.importorskip("huggingface_hub", reason="the hub's client: pip install '.[export]'")

from clear_rt.errors import ExitStatus
from clear_rt.models.fetched import read_record
from clear_rt.models.weights_folder import find_weights
from tests.hub_server import Repository, serving

RANDOM = random.Random(0)
SHARDS = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
WAN = {
    SHARDS[0]: RANDOM.randbytes(2_500_000),
    SHARDS[1]: RANDOM.randbytes(200_000),
    "Wan2.1_VAE.pth": RANDOM.randbytes(30_000),
    "config.json": b'{"_class_name": "WanModel"}',
    "models_t5_umt5-xxl-enc-bf16.pth": RANDOM.randbytes(40_000),
    "google/umt5-xxl/tokenizer.json": b"{}" * 300,
    "google/umt5-xxl/spiece.model": RANDOM.randbytes(20_000),
    "models_clip_open-clip.pth": RANDOM.randbytes(50_000),
    "README.md": b"Wan",
    "assets/video.mp4": RANDOM.randbytes(15_000),
}
NEEDED = [*SHARDS, "Wan2.1_VAE.pth", "config.json"]
REPOSITORY = "wan/control"
COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def hub():
    with serving() as server:
        server.add(REPOSITORY, Repository(WAN, COMMIT))
        yield server


class Cli:
    """The command in processes of their own, with homes of their own."""

    def __init__(self, home, url):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_")) and "proxy" not in k.lower()}
        self.home = home
        self.environment = kept | {"HF_HOME": str(home / "hf"), "XDG_CACHE_HOME": str(home / "cache")}
        self.environment |= {"HF_ENDPOINT": url, "HF_HUB_DISABLE_XET": "1"}

    def command(self, *arguments):
        repository = [] if "--repository" in arguments else ["--repository", REPOSITORY]
        return [sys.executable, "-m", "clear_rt", "fetch", *repository, *map(str, arguments)]

    def __call__(self, *arguments, stdin=subprocess.DEVNULL, **environment):
        return subprocess.run(
            self.command(*arguments), env=self.environment | environment, stdin=stdin, capture_output=True, text=True
        )

    def refused(self, status, *arguments, says=(), **environment):
        """Checks the status and that standard error is one sentence; returns it."""
        ran = self(*arguments, **environment)
        lines = ran.stderr.strip().splitlines()
        assert (ran.returncode, ran.stdout, len(lines)) == (status, "", 1), ran
        assert lines[0].startswith("clear-rt: ")
        assert "http://" not in lines[0]
        for word in (says,) if isinstance(says, str) else says:
            assert word in lines[0], lines[0]
        return lines[0]


@pytest.fixture
def cli(hub, tmp_path):
    return Cli(tmp_path, hub.url)


def contents(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def holds(folder, names, files=WAN):
    assert contents(folder) == {*names, "fetched.json"}
    assert all((folder / name).read_bytes() == files[name] for name in names)


def test_what_is_needed_comes_and_is_found(hub, cli, tmp_path):
    ran = cli("-o", tmp_path / "wan", "--yes", "--json")
    assert ran.returncode == 0, ran.stderr
    holds(tmp_path / "wan", NEEDED)
    found = find_weights(tmp_path / "wan")
    assert found.dit == tuple(tmp_path / "wan" / name for name in SHARDS)
    assert (found.text_encoder, found.tokenizer) == (None, None)
    record = read_record(tmp_path / "wan")
    assert (record.repository, record.revision, record.commit) == (REPOSITORY, None, COMMIT)
    said = json.loads(ran.stdout)
    assert said["folders"][0]["commit"] == COMMIT
    assert said["bytes"] == sum(len(WAN[name]) for name in NEEDED)
    assert "give --lora" in ran.stderr
    asked = len(hub.requests)
    again = cli("-o", tmp_path / "wan")
    assert (again.returncode, len(hub.requests)) == (0, asked + 1)
    assert COMMIT in again.stdout


def test_a_dry_run_lists_and_writes_nothing(hub, cli, tmp_path):
    ran = cli("-o", tmp_path / "wan", "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert all(name in ran.stdout for name in NEEDED)
    assert "umt5" not in ran.stdout
    assert "2.7 MB to fetch" in ran.stdout
    assert COMMIT in ran.stdout
    assert list(tmp_path.iterdir()) == []
    assert len(hub.requests) == 1


def test_without_a_terminal_it_wants_a_yes(cli, tmp_path):
    cli.refused(ExitStatus.USAGE, "-o", tmp_path / "wan", says=("2.7 MB", "--yes"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("\n", ExitStatus.USAGE)])
def test_on_a_terminal_it_asks(cli, tmp_path, answer, status):
    ours, theirs = os.openpty()
    try:
        os.write(ours, answer.encode())
        ran = cli("-o", tmp_path / "wan", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert ran.returncode == status
    assert "Fetch 2.7 MB? [y/N]" in ran.stderr
    assert SHARDS[0] in ran.stderr
    assert (tmp_path / "wan").exists() == (status == 0)


def test_a_connection_that_is_cut_is_taken_up_where_it_broke(hub, cli, tmp_path):
    hub.cuts[SHARDS[0]] = [1_200_000, 700_001]
    ran = cli("-o", tmp_path / "wan", "--yes")
    assert ran.returncode == 0, ran.stderr
    holds(tmp_path / "wan", NEEDED)
    begun = [int(r.range.removeprefix("bytes=")[:-1]) for r in hub.fetched(SHARDS[0]) if r.range]
    assert len(begun) == 2
    assert 0 < begun[0] <= 1_200_000
    assert begun[0] < begun[1] <= 1_900_001


def test_an_interrupted_fetch_leaves_no_name_and_goes_on(hub, cli, tmp_path):
    folder = tmp_path / "wan"
    hub.cuts[SHARDS[0]] = [-1_200_000]
    with subprocess.Popen(cli.command("-o", folder, "--yes"), env=cli.environment, stderr=subprocess.PIPE) as running:
        partial = folder / f".{SHARDS[0]}.{COMMIT[:12]}.partial"
        while not (hub.stalled.is_set() and partial.stat().st_size):
            assert running.poll() is None
            hub.release.wait(0.01)
        # Another process leaves it alone meanwhile.
        cli.refused(ExitStatus.OUTPUT, "-o", folder, "--yes", says="another process")
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == ExitStatus.INTERRUPTED
    assert len(err.decode().strip().splitlines()) == 1
    assert contents(folder) == {partial.name}
    begun = partial.stat().st_size
    hub.requests.clear()
    assert "2.7 MB in all" in cli("-o", folder, "--dry-run").stdout
    assert cli("-o", folder, "--yes").returncode == 0
    assert [r.range for r in hub.fetched(SHARDS[0])] == [f"bytes={begun}-"]
    holds(folder, NEEDED)


def test_errors_are_one_sentence(cli, tmp_path):
    where = ["-o", tmp_path / "wan", "--yes"]
    cli.refused(ExitStatus.WEIGHTS, "--repository", "no/where", *where, says=("no/where", "expected a repository"))
    # Nobody listens at the port of discarded data, and an address may hold a password.
    refusing = "http://me:secret@127.0.0.1:9"
    assert "secret" not in cli.refused(ExitStatus.WEIGHTS, *where, HF_ENDPOINT=refusing, says="check the network")
    (tmp_path / "file").touch()
    cli.refused(ExitStatus.OUTPUT, "-o", tmp_path / "file/wan", "--yes", says="could not be written")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_filled_cache_serves_without_a_network(hub, cli, tmp_path):
    fill = f"from huggingface_hub import hf_hub_download as get\nfor n in {NEEDED}: get({REPOSITORY!r}, n)"
    subprocess.run([sys.executable, "-c", fill], env=cli.environment, check=True)
    asked = len(hub.requests)
    ran = cli("-o", tmp_path / "offline", HF_HUB_OFFLINE="1")
    assert ran.returncode == 0, ran.stderr
    holds(tmp_path / "offline", NEEDED)
    assert len(hub.requests) == asked
    record = read_record(tmp_path / "offline")
    assert (record.commit, len(record.files[SHARDS[0]].sha256)) == (COMMIT, 64)
    blobs = {p.resolve() for p in (cli.home / "hf").rglob("*.safetensors")}
    assert any((tmp_path / "offline" / SHARDS[0]).samefile(blob) for blob in blobs)
    # Online, the cache still saves the transfer.
    assert cli("-o", tmp_path / "online").returncode == 0
    assert len(hub.requests) == asked + 1


def test_a_lora_and_a_revision_reach_the_hub(hub, cli):
    """Without a folder each commit has one of its own, which a process without a network finds again."""
    lora = {f"step-{i}.safetensors": RANDOM.randbytes(20_000) for i in (300, 350)}
    hub.add("me/clear", Repository(lora, OTHER, refs=("v2",)))
    arguments = ["--revision", COMMIT, "--lora", "me/clear@v2", "--lora-file", "step-350.safetensors"]
    ran = cli(*arguments, "--yes")
    assert (ran.returncode, ran.stderr) == (0, "")
    home = cli.home / "cache/clear-rt/weights"
    assert [line.split(": ")[0] for line in ran.stdout.splitlines()] == [
        str(home / REPOSITORY / COMMIT),
        str(home / "me/clear" / OTHER),
    ]
    holds(home / REPOSITORY / COMMIT, NEEDED)
    holds(home / "me/clear" / OTHER, ["step-350.safetensors"], lora)
    asked = len(hub.requests)
    again = cli(*arguments, HF_HUB_OFFLINE="1")
    assert (again.returncode, again.stdout, len(hub.requests)) == (0, ran.stdout, asked)
