"""What was trained on, what must never be, and whether the bundle and NOTICE say so."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from clear_rt.bundle import EMBEDDED
from clear_rt.errors import InputError
from training import materials
from training.materials import HELD_OUT, PACKAGES, STILLS, TRAINING


@pytest.fixture(params=["prior", "generator"])
def notes(request):
    """What the embedded manifest says of the training of a part."""
    return json.loads((EMBEDDED / "manifest.json").read_text())["training"][request.param]


def test_no_clip_is_both_trained_on_and_held_out(notes):
    assert not set(TRAINING) & set(HELD_OUT)
    assert not set(notes["clips_sha256"]) & set(HELD_OUT)


def test_the_embedded_bundle_was_trained_on_the_training_clips_only(notes):
    digests = {name: digest for package in PACKAGES for _, name, digest in package.members}
    assert notes["clips_sha256"] == {name: digests[name] for name in TRAINING}
    assert notes["stills"] == list(STILLS)
    assert notes["never_used"] == list(HELD_OUT)
    assert not {digests[name] for name in HELD_OUT} & set(notes["clips_sha256"].values())


def test_notice_names_everything_trained_on(root, notes):
    text = (root / "NOTICE").read_text()
    for name in (*notes["clips_sha256"], *notes["stills"]):
        assert name in text


def test_a_clip_that_was_altered_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(materials, "HOME", tmp_path)
    (tmp_path / "bbb.mp4").write_bytes(b"another film")
    with pytest.raises(InputError, match=r"bbb\.mp4 has sha256 .* expected 475fbbf3.*; delete it and fetch again"):
        materials.fetch_clips(("bbb.mp4",))


@pytest.mark.parametrize("command", [(sys.executable, "-c", "raise SystemExit(1)"), ("no-such-program",)])
def test_a_fetch_that_fails_is_a_sentence(tmp_path, command):
    with pytest.raises(InputError, match="fetching materials failed") as caught:
        materials._run(command, tmp_path)
    assert isinstance(caught.value.__cause__, (subprocess.CalledProcessError, OSError))
