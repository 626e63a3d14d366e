"""Semi-transparent boxes over a real clip, from file to file."""

from __future__ import annotations

import threading
from contextlib import closing
from functools import partial
from itertools import islice

import av
import numpy as np
import pytest

from clear_rt import frames
from clear_rt.burn.config import BurnConfig
from clear_rt.burn.looks import LOOKS, Look
from clear_rt.burn.styles import Style
from clear_rt.burn.video import burn
from clear_rt.config import CompositeConfig, RegionConfig, RunConfig, WriteConfig
from clear_rt.errors import ConfigError
from clear_rt.matte_planes import alpha_for, luma_alpha
from clear_rt.metrics.evaluate import evaluate
from clear_rt.remover import Remover
from clear_rt.shapes import Box, Size, plane_box, whole
from tests.conftest import made_once

FRAMES, SEGMENT_FRAMES = 36, 12
LOSSLESS = WriteConfig(lossless=True)


def twice_as_large(clip, target):
    """A part of a clip at twice its size: windows of 4 px leave nothing to go by across an edge."""
    with av.open(str(target), "w") as container, closing(frames.read(frames.probe(clip))) as pictures:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for frame in islice(pictures, FRAMES):
            rows, columns = frame.planes[0].samples.shape
            part = frame.rgb(2 * rows, 2 * columns)[2 * rows - 360 :, :640]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(part), format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def boxed(clean, tmp_path_factory):
    """Frames of a real clip, the same with text on a box of opacity 0.5, and the mask of both."""

    def make(folder):
        folder.mkdir()
        twice_as_large(clean, folder / "clean.mkv")
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(LOOKS, "box", Look(style=Style(outline_share=0.0, box_alpha=0.5)))
            config = BurnConfig(script="en", seed=3, style="box", timing="always")
            burn(folder / "clean.mkv", folder / "text.mp4", config, mask=folder / "mask.mkv")

    return made_once(tmp_path_factory, "boxed", make)


def removed(source, target, boxes="lift", at=None):
    """Whole, or interrupted after the frame `at` was handed to the encoder."""

    def progress(phase, done, total):
        if phase == "removing" and done == at:
            raise KeyboardInterrupt

    config = RunConfig(write=LOSSLESS, composite=CompositeConfig(boxes=boxes))
    return Remover(config)(source, target, progress)


def test_what_is_behind_a_box_comes_back(boxed, tmp_path):
    scores = {}
    for boxes in ("lift", "fill"):
        target = tmp_path / f"{boxes}.mp4"
        removed(boxed / "text.mp4", target, boxes)
        scores[boxes] = evaluate(target, boxed / "clean.mkv", boxed / "text.mp4", boxed / "mask.mkv", every_frames=12)
    lift, fill = (scores[boxes].result for boxes in ("lift", "fill"))
    # The matte is the same but for what of the box it had missed, and only inside of it do the two differ.
    assert lift.psnr.inside_db > fill.psnr.inside_db + 6
    assert lift.psnr.frame_db > fill.psnr.frame_db + 3
    assert lift.psnr.outside_db > fill.psnr.outside_db - 0.5


def packets(path):
    with av.open(str(path)) as container:
        return [(packet.pts, packet.duration, bytes(packet)) for packet in container.demux() if packet.size]


# A segment is finished some frames after its last one was handed to the encoder.
@pytest.mark.parametrize("at", [23, 35])
def test_an_interrupted_run_goes_on_with_what_it_knew(boxed, tmp_path, monkeypatch, at):
    monkeypatch.setattr(frames, "SegmentedWriter", partial(frames.SegmentedWriter, segment_frames=SEGMENT_FRAMES))
    removed(boxed / "text.mp4", tmp_path / "whole.mkv")
    target = tmp_path / "out.mkv"
    with pytest.raises(KeyboardInterrupt):
        removed(boxed / "text.mp4", target, at=at)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clear_rt")]
    report = removed(boxed / "text.mp4", target)
    assert report.frames_resumed == at // SEGMENT_FRAMES * SEGMENT_FRAMES
    assert packets(target) == packets(tmp_path / "whole.mkv")


@pytest.mark.parametrize("fill", ["membrane", "model"])
def test_only_what_the_matte_covers_is_changed(boxed, fill):
    config = RunConfig(composite=CompositeConfig(fill=fill))
    info = frames.probe(boxed / "text.mp4")
    size = Size(info.width_px, info.height_px)
    changed = 0
    with closing(Remover(config).cleaned(boxed / "text.mp4", None)) as all_cleaned:
        for source, result, _, matte, _ in islice(all_cleaned, 8):
            alpha = luma_alpha(matte, size, whole(size))
            for old, new in zip(source.planes, result.planes, strict=True):
                steps = old.step_x_px, old.step_y_px
                touched = old.samples != new.samples
                assert not touched[alpha_for(alpha, whole(size), *steps, spread=old.kind == "chroma") == 0].any()
                changed += np.count_nonzero(touched)
    assert changed > 10_000


@pytest.mark.parametrize("boxes", ["lift", "fill"])
def test_samples_of_what_is_kept_keep_every_bit(boxed, boxes):
    """Chroma, too, whose fill spreads by a sample."""
    kept = Box(251, 301, 51, 21)
    config = RunConfig(region=RegionConfig(keep=(kept,)), composite=CompositeConfig(boxes=boxes))
    beside = 0
    with closing(Remover(config).cleaned(boxed / "text.mp4", None)) as all_cleaned:
        for source, result, *_ in islice(all_cleaned, 4):
            for old, new in zip(source.planes, result.planes, strict=True):
                part = plane_box(kept, old.step_x_px, old.step_y_px).slices
                np.testing.assert_array_equal(new.samples[part], old.samples[part])
                beside += np.count_nonzero(new.samples != old.samples)
    assert beside > 1000


def test_boxes_are_lifted_or_filled():
    with pytest.raises(ConfigError, match="boxes"):
        CompositeConfig(boxes="keep")
    assert not CompositeConfig(boxes="fill").lifts
    assert not CompositeConfig(mode="off", fill="model").lifts
