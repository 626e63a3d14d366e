"""A bundle's folder appears whole or not at all, whatever ends the writing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clear_rt.errors import OutputError
from clear_rt.export.folder import building

OLD = '{"format": 1, "files": [{"file": "step.onnx"}], "graph": {"file": "left.onnx"}, "prior": {"file": "step.onnx"}}'
NEW = OLD.replace("left", "right")


def fill(folder: Path, text: str = "{}") -> None:
    (folder / "manifest.json").write_text(text)
    (folder / "step.onnx").write_bytes(b"graph")


def test_the_folder_appears_at_the_end(tmp_path):
    target = tmp_path / "bundle"
    with building(target) as folder:
        fill(folder)
        assert not target.exists()
    assert sorted(p.name for p in target.iterdir()) == ["manifest.json", "step.onnx"]
    assert [*tmp_path.iterdir()] == [target]


def test_a_bundle_that_was_there_is_replaced_whole(tmp_path):
    target = tmp_path / "bundle"
    target.mkdir()
    fill(target, OLD)
    (target / "left.onnx").write_bytes(b"old")
    with building(target) as folder:
        fill(folder, NEW)
        assert (target / "manifest.json").read_text() == OLD
    assert sorted(p.name for p in target.iterdir()) == ["manifest.json", "step.onnx"]
    assert (target / "manifest.json").read_text() == NEW
    assert [*tmp_path.iterdir()] == [target]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("no"), MemoryError])
def test_what_stood_there_stays_after_a_failure(tmp_path, error):
    target = tmp_path / "bundle"
    target.mkdir()
    fill(target, OLD)

    def work():
        with building(target) as folder:
            fill(folder, NEW)
            raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        work()
    assert (target / "manifest.json").read_text() == OLD
    assert [*tmp_path.iterdir()] == [target]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    def work():
        with building(tmp_path / "bundle") as folder:
            fill(folder)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match=r"bundle could not be written \(No space left on device\); free some space"):
        work()
    assert [*tmp_path.iterdir()] == []


def test_a_killed_process_leaves_no_bundle(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from clear_rt.export.folder import building\n"
        "with building(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'manifest.json').write_text('{}'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "bundle")], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "bundle").exists()


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"jpg")
    with pytest.raises(OutputError, match=r"expected a bundle or nothing at .*photos, but it holds one\.jpg"):
        building(tmp_path / "photos").__enter__()
    assert (tmp_path / "photos" / "one.jpg").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "bundle").write_text("text")
    with pytest.raises(OutputError, match=r"expected a folder for the bundle, but .* is a file"):
        building(tmp_path / "bundle").__enter__()


def test_the_parent_must_exist(tmp_path):
    with pytest.raises(OutputError, match=r"expected to write into .*nowhere, but it is no folder"):
        building(tmp_path / "nowhere" / "bundle").__enter__()


def test_a_link_stays_a_link(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    fill(real, OLD)
    (tmp_path / "link").symlink_to(real)
    with building(tmp_path / "link") as folder:
        fill(folder, NEW)
    assert (tmp_path / "link").is_symlink()
    assert (real / "manifest.json").read_text() == NEW


def test_a_folder_that_only_looks_like_a_bundle_is_left_alone(tmp_path):
    """Web applications and browser extensions have a manifest.json too."""
    target = tmp_path / "app"
    target.mkdir()
    (target / "manifest.json").write_text('{"name": "my app", "format": 1}')
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"expected a bundle or nothing at .*app, but it holds thesis\.txt"):
        building(target).__enter__()
    assert (target / "thesis.txt").read_text() == "years of work"


def test_folders_inside_a_bundle_are_somebody_elses(tmp_path):
    target = tmp_path / "bundle"
    target.mkdir()
    fill(target, '{"format": 1, "prior": {"file": "step.onnx"}}')
    (target / "notes").mkdir()
    with pytest.raises(OutputError, match=r"but it holds notes"):
        building(target).__enter__()


def test_the_current_folder_is_not_replaced_under_the_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=r"expected a folder of its own"):
        building(Path(".")).__enter__()


def test_a_name_that_no_manifest_can_hold(tmp_path):
    with pytest.raises(OutputError, match=r"expected a printable name"):
        building(tmp_path / "a\tb").__enter__()


@pytest.mark.parametrize("call", [1, 2])
def test_an_interrupt_between_the_two_renames_keeps_the_old_bundle(tmp_path, monkeypatch, call):
    target = tmp_path / "bundle"
    target.mkdir()
    fill(target, OLD)
    rename, calls = Path.rename, []

    def interrupted(path, to):
        calls.append(path)
        if len(calls) == call:
            if call == 1:
                rename(path, to)
            raise KeyboardInterrupt
        return rename(path, to)

    def work():
        with building(target) as folder:
            fill(folder, NEW)
            monkeypatch.setattr(Path, "rename", interrupted)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert (target / "manifest.json").read_text() == OLD
    assert [*tmp_path.iterdir()] == [target]
