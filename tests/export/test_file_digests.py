"""Hashes of files, remembered for as long as the files are the same."""

import hashlib
import json
import os

import pytest

from clear_rt.export.file_digests import digest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "clear-rt" / "digests.json"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    return path


def test_it_is_the_sha256_and_is_remembered(file, cache):
    assert digest(file) == hashlib.sha256(b"weights").hexdigest()
    (known,) = json.loads(cache.read_text()).values()
    assert known == digest(file)
    cache.write_text(json.dumps(dict.fromkeys(json.loads(cache.read_text()), "remembered")))
    assert digest(file) == "remembered"


def test_a_file_that_was_changed_is_hashed_anew(file):
    digest(file)
    file.write_bytes(b"WEIGHTS")
    later_ns = file.stat().st_mtime_ns + 1
    os.utime(file, ns=(later_ns, later_ns))
    assert digest(file) == hashlib.sha256(b"WEIGHTS").hexdigest()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', "\0"])
def test_a_damaged_cache_is_made_again(file, cache, content):
    cache.parent.mkdir(parents=True)
    cache.write_text(content)
    assert digest(file) == hashlib.sha256(b"weights").hexdigest()
    assert len(json.loads(cache.read_text())) == 1


def test_without_a_place_for_the_cache_files_are_hashed(file, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    assert digest(file) == hashlib.sha256(b"weights").hexdigest()
