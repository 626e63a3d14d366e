"""Whether a bundle fits the disk and its engines the GPU, said before anything is built."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason="exports are written in torch: pip install '.[export]'")

from clear_rt.errors import EngineError, OutputError
from clear_rt.export import room
from clear_rt.export.checked import checked_weights
from clear_rt.export.config import ExportConfig
from clear_rt.models.sources import weights_source
from clear_rt.runtime.device import Gpu
from clear_rt.shapes import Size

CONFIG = ExportConfig(engines=("trt", "cuda"), precision="bf16", profiles=(Size(64, 32), Size(1280, 720)))


@pytest.fixture(scope="module")
def checked(random_weights):
    return checked_weights(weights_source(str(random_weights)), CONFIG)


def disk(monkeypatch, free):
    asked = []
    monkeypatch.setattr(room.shutil, "disk_usage", lambda folder: asked.append(folder) or SimpleNamespace(free=free))
    return asked


def test_a_disk_with_one_byte_too_few_is_named(checked, monkeypatch, tmp_path):
    needed = sum(room.bundle_bytes(checked, CONFIG).values())
    asked = disk(monkeypatch, int(needed) - 1)
    with pytest.raises(OutputError, match=r"will take about 0\.\d GB, and 0\.\d GB are free in .*; make room, or give"):
        room.require_room(tmp_path / "not" / "there" / "bundle", checked, CONFIG, None)
    assert asked == [tmp_path]
    disk(monkeypatch, int(needed) + 1)
    room.require_room(tmp_path / "bundle", checked, CONFIG, None)


def test_a_gpu_too_small_for_a_profile_is_named_with_it(checked, monkeypatch, tmp_path):
    disk(monkeypatch, 1 << 60)
    small, large = (room.running_bytes(checked, CONFIG, size) for size in CONFIG.profiles)
    assert small < large
    gpu = Gpu("Some GPU", 89, int(large) - 1, "13.0", "580.1")
    monkeypatch.setattr(room, "first_gpu", lambda: gpu)
    here = SimpleNamespace(is_here=True)
    with pytest.raises(EngineError, match=r"engines for 1280x720 will take about .* Some GPU has .*; name a smaller"):
        room.require_room(tmp_path / "bundle", checked, CONFIG, here)
    room.require_room(tmp_path / "bundle", checked, replace(CONFIG, profiles=CONFIG.profiles[:1]), here)
    # Engines for another machine's GPU are not held against this one's memory.
    room.require_room(tmp_path / "bundle", checked, CONFIG, SimpleNamespace(is_here=False))


def test_half_precision_and_fp8_take_what_they_should(checked):
    whole = room.bundle_bytes(checked, CONFIG)
    assert room.bundle_bytes(checked, replace(CONFIG, store="fp16"))["cuda weights"] == whole["cuda weights"] / 2
    assert (
        room.bundle_bytes(checked, replace(CONFIG, precision="fp8", scales=Path("scales.json")))["trt engines"]
        < whole["trt engines"]
    )
    assert room.building_bytes(checked, CONFIG) > whole["cuda weights"]
