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
    fill(target, "old")
    (target / "left.onnx").write_bytes(b"old")
    with building(target) as folder:
        fill(folder, "new")
        assert (target / "manifest.json").read_text() == "old"
    assert sorted(p.name for p in target.iterdir()) == ["manifest.json", "step.onnx"]
    assert (target / "manifest.json").read_text() == "new"
    assert [*tmp_path.iterdir()] == [target]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("no"), MemoryError])
def test_what_stood_there_stays_after_a_failure(tmp_path, error):
    target = tmp_path / "bundle"
    target.mkdir()
    fill(target, "old")

    def work():
        with building(target) as folder:
            fill(folder, "new")
            raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        work()
    assert (target / "manifest.json").read_text() == "old"
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
    with pytest.raises(OutputError, match=r"expected a bundle or nothing at .*photos, but it holds other files"):
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
    fill(real, "old")
    (tmp_path / "link").symlink_to(real)
    with building(tmp_path / "link") as folder:
        fill(folder, "new")
    assert (tmp_path / "link").is_symlink()
    assert (real / "manifest.json").read_text() == "new"
