"""The model that is shipped: `--fill model` on a real clip, with nothing named but the fill."""

import numpy as np
import pytest

import clear_rt
from clear_rt import frames
from clear_rt.config import CompositeConfig, RunConfig, WriteConfig
from clear_rt.metrics.evaluate import evaluate


@pytest.fixture(scope="module")
def results(subtitled, tmp_path_factory):
    """The clip as either fill leaves it, by the fill's name."""
    folder = tmp_path_factory.mktemp("results")
    found = {}
    for fill in ("membrane", "model"):
        found[fill] = folder / f"{fill}.mkv"
        config = RunConfig(composite=CompositeConfig(fill=fill), write=WriteConfig(lossless=True))
        report = clear_rt.remove(subtitled, found[fill], config)
        assert (report.bundle, report.fill) == ("clear-tiny", fill)
        assert report.frames_changed > 0
    assert (report.engine, report.steps) == ("onnx", 1)
    assert report.windows > 0
    return found


def test_it_fills_as_well_as_the_membrane_on_a_clip_it_never_saw(results, subtitled, clean):
    inside_db = {
        fill: evaluate(path, clean, subtitled, find_text=False).result.psnr.inside_db for fill, path in results.items()
    }
    assert inside_db["model"] > inside_db["membrane"] - 0.3
    assert inside_db["model"] != inside_db["membrane"]


def test_it_changes_no_sample_outside_the_matte(results, subtitled):
    """That of the membrane, which may leave a sample at its old value by chance, and so reaches one row less."""
    changed = {fill: np.zeros(frames.probe(subtitled).height_px, bool) for fill in results}
    for fill, path in results.items():
        for was, now in zip(frames.read(subtitled), frames.read(path), strict=True):
            changed[fill] |= (was.planes[0].samples != now.planes[0].samples).any(axis=1)
    rows = changed["membrane"]
    assert changed["model"].any()
    assert not (changed["model"] & ~(rows | np.roll(rows, 1) | np.roll(rows, -1))).any()
