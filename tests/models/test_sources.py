"""Weights by name: paths as they are, repositories where they were fetched or cached, and never a download."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clear_rt.errors import ConfigError, WeightsError
from clear_rt.models.fetched import HubFile, Record, read_record, write_record
from clear_rt.models.sources import HubId, adapter_source, cached_snapshot, weights_source

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """Homes of their own for what was fetched and for huggingface_hub's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    constants = pytest.importorskip("huggingface_hub.constants", reason="the hub's client: pip install '.[export]'")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fetched(home, repository="a/b", commit=COMMIT, revision=None):
    folder = home / "cache/clear-rt/weights" / repository / commit
    folder.mkdir(parents=True)
    (folder / "x.safetensors").touch()
    write_record(folder, Record(repository, revision, commit, {"x.safetensors": HubFile("x.safetensors", 0)}))
    return folder


def cached(home, source, repository="a/b", commit=COMMIT, ref="main"):
    """A snapshot as huggingface_hub lays it out: links into blobs that are named by hashes."""
    store = home / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = store / "snapshots" / commit
    for i, path in enumerate(sorted(p for p in source.rglob("*") if p.is_file())):
        blob, link = store / "blobs" / f"{i:064x}", snapshot / path.relative_to(source)
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (store / "refs").mkdir(exist_ok=True)
    (store / "refs" / ref).write_text(commit)
    return snapshot


def refused(spec, *words, find=weights_source):
    with pytest.raises(WeightsError) as caught:
        find(spec)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize("spec", ["a/b", "a/b@v1", "A_1/b.c-d@refs/pr/3", f"a/b@{COMMIT}"])
def test_names_of_repositories_are_read(spec):
    assert str(HubId.parse(spec)) == spec


@pytest.mark.parametrize(
    "spec",
    ["", "a", "/a/b", "a/b/c", "../b", "a/..", "a b/c", "a/b--c", "a/.b", "a/b.", "a/ü", "a/b@", "a/b@../x", "a/b@-x"],
)
def test_what_is_no_name_of_a_repository_is_refused(spec):
    with pytest.raises(ConfigError):
        HubId.parse(spec)


def test_paths_are_taken_as_they_are(home):
    (home / "a/b").mkdir(parents=True)
    (home / "x.pt").touch()
    fetched(home)
    # A folder goes before a repository of the same name.
    for spec in ("a/b", "./a/b", str(home / "a/b"), "x.pt"):
        assert weights_source(spec) == Path(spec)
    assert adapter_source("x.pt") == Path("x.pt")


def test_what_is_not_there_is_told_how_to_get(home):
    refused("a/b", "clear-rt fetch --repository a/b")
    refused("a/b@v2", "clear-rt fetch --repository a/b@v2")
    refused("a/b", "clear-rt fetch --lora a/b", find=adapter_source)
    for spec in ("/no/where", "nowhere", "../a/b", "x" * 5000, "a\0b"):
        refused(spec, "check the path")
    assert not (home / "cache").exists()


def test_what_was_fetched_is_found_by_name_and_revision(home):
    folder = fetched(home, revision="v1")
    for spec in ("a/b", "a/b@v1", f"a/b@{COMMIT}"):
        assert weights_source(spec) == folder
    refused("a/b@v2", "fetch --repository a/b@v2")
    refused("a/c", "fetch --repository a/c")
    newer = fetched(home, commit=OTHER)
    refused("a/b", COMMIT, OTHER, "a/b@COMMIT")
    assert weights_source("a/b@v1") == folder
    assert weights_source(f"a/b@{OTHER}") == newer


@pytest.mark.parametrize("damage", ["absent", "text", "list", "other commit"])
def test_a_folder_that_is_not_complete_is_not_found(home, damage):
    record = fetched(home) / "fetched.json"
    if damage == "absent":
        record.unlink()
    elif damage == "other commit":
        record.write_text(record.read_text().replace(COMMIT, OTHER))
    else:
        record.write_text({"text": "{", "list": "[1]"}[damage])
        assert read_record(record.parent) is None
    refused("a/b", "clear-rt fetch")


def test_the_cache_of_the_hub_is_found(home):
    source = home / "source"
    source.mkdir()
    (source / "x.safetensors").touch()
    snapshot = cached(home, source, ref="main")
    for spec in ("a/b", "a/b@main", f"a/b@{COMMIT}"):
        assert weights_source(spec) == snapshot
    refused("a/b@v2", "clear-rt fetch")
    assert adapter_source("a/b") == snapshot / "x.safetensors"
    # What our own command fetched goes first.
    assert weights_source("a/b") != (folder := fetched(home, commit=OTHER))
    assert weights_source("a/b") == folder
    (home / "hub/models--a--b/refs/main").write_text("../../..")
    assert cached_snapshot(HubId("a/b")) is None


def test_a_folder_must_hold_one_checkpoint_of_an_adapter(home):
    folder = fetched(home)
    assert adapter_source("a/b") == folder / "x.safetensors"
    (folder / ".y.pt.0123.partial").touch()
    (folder / ".y.pt").touch()
    assert adapter_source(str(folder)) == folder / "x.safetensors"
    (folder / "lora").mkdir()
    (folder / "lora/y.pt").touch()
    refused("a/b", "lora/y.pt, x.safetensors", "give the file itself", find=adapter_source)
    refused(str(home / "cache/clear-rt/weights/a/b" / COMMIT / "lora/.."), "lora/y.pt", find=adapter_source)
    (home / "none").mkdir()
    refused("none", "found none", find=adapter_source)


def test_a_snapshot_of_links_is_loaded_as_a_folder(home, random_weights):
    pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")
    from clear_rt.models.weights import load_dit, load_vae
    from clear_rt.models.weights_folder import find_weights

    cached(home, random_weights)
    linked, plain = find_weights(weights_source("a/b")), find_weights(random_weights)
    assert all(path.is_symlink() for path in (*linked.dit, linked.vae))
    assert linked.dit_config == plain.dit_config
    for load, one, other in (
        (lambda f: load_dit(f.dit, f.dit_config), linked, plain),
        (lambda f: load_vae(f.vae, f.vae_config), linked, plain),
    ):
        theirs = load(other).state_dict()
        assert all((tensor == theirs[name]).all() for name, tensor in load(one).state_dict().items())


def test_finding_needs_neither_torch_nor_the_hubs_client(home, root):
    """And a cache is none where its client is not installed."""
    folder = fetched(home)
    found = (
        "import sys; sys.modules['huggingface_hub'] = sys.modules['torch'] = None\n"
        "from clear_rt.models.sources import HubId, cached_snapshot, weights_source\n"
        "assert cached_snapshot(HubId('a/b')) is None; print(weights_source('a/b'))"
    )
    said = subprocess.check_output([sys.executable, "-c", found], cwd=home, env=os.environ | {"PYTHONPATH": str(root)})
    assert said.decode().strip() == str(folder)
