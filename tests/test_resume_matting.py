"""Mattes from the middle of a video on: those of a pass over all of it, and no map computed that does not count."""

from __future__ import annotations

from contextlib import closing

import av
import numpy as np
import pytest

from clear_rt import frames
from clear_rt.config import MatteConfig, RegionConfig
from clear_rt.matting import Matting
from clear_rt.regions import RegionRun
from clear_rt.report import Stopwatch
from clear_rt.shapes import Box, Size
from tests.block_engine import BlockEngine, outlining, outlining_twice
from tests.numbered_scene import SIZE, TEXT, numbered_scene

COUNT, REACH = 30, 3
ABOVE = Box(40, 10, 100, 10)
RUNS = [RegionRun(2, 20, TEXT), RegionRun(9, 28, ABOVE)]
# Letters that come and go: a matte takes those that most maps around its frame show.
FLICKERING = [
    (start, start + 2 + start % 5, Box(box.x_px + start * 17 % 80, box.y_px, 20, 10))
    for start in range(1, COUNT)
    for box in (TEXT, ABOVE)
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return frames.probe(numbered_scene(tmp_path_factory.mktemp("scene") / "in.mkv", COUNT, FLICKERING))


@pytest.fixture(scope="module")
def mask(tmp_path_factory):
    """A bar that moves by four pixels a frame."""
    path = tmp_path_factory.mktemp("mask") / "mask.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIZE.width_px, SIZE.height_px, "gray"
        for index in range(COUNT):
            picture = np.zeros((SIZE.height_px, SIZE.width_px), np.uint8)
            picture[98:104, 40 + 4 * (index % 20) : 60 + 4 * (index % 20)] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "gray")))
        container.mux(stream.encode(None))
    return path


class Brightness(BlockEngine):
    """Notes how bright the pictures are that it is asked about: that says which frame they are of."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def occlusion(self, rgb):
        self.asked.append(int(np.median(rgb)))
        return super().occlusion(rgb)


def _mattes(info, region, engine, looks=outlining, **first):
    matting = Matting(
        info, RUNS, looks(engine, Size(SIZE.width_px, SIZE.height_px)), region, MatteConfig(reach_frames=REACH),
        Stopwatch(), **first,
    )  # fmt: skip
    with closing(matting.writing()) as writing:
        return {
            frame.index: (active, occlusion.tobytes(), matte.tobytes())
            for (frame, active, occlusion), matte, _ in writing
        }


@pytest.mark.parametrize("kind", ["prior", "mask", "keep"])
def test_mattes_from_every_frame_on(scene, mask, kind):
    region = {
        "prior": RegionConfig(),
        "mask": RegionConfig(mask=mask),
        "keep": RegionConfig(keep=(Box(60, 98, 20, 4),)),
    }[kind]
    whole = _mattes(scene, region, Brightness())
    assert len({matte for _, _, matte in whole.values()}) > 10
    for first in range(0, COUNT + 1, 1 if kind == "prior" else 7):
        found = _mattes(scene, region, Brightness(), first_frame=first)
        assert found == {index: made for index, made in whole.items() if index >= first}


def test_mattes_from_every_frame_on_where_text_is_outlined_once_for_several_frames(scene):
    whole = _mattes(scene, RegionConfig(), Brightness(), outlining_twice)
    afresh = _mattes(scene, RegionConfig(), Brightness())
    assert [one[1] for one in whole.values()] != [one[1] for one in afresh.values()]
    for first in range(COUNT + 1):
        found = _mattes(scene, RegionConfig(), Brightness(), outlining_twice, first_frame=first)
        assert found == {index: made for index, made in whole.items() if index >= first}


def test_maps_that_do_not_count_are_not_computed(scene):
    engine = Brightness()
    _mattes(scene, RegionConfig(), engine)
    whole = engine.asked
    assert len(whole) == sum(run.stop_frame - run.start_frame for run in RUNS)
    for first in (0, 4, 12, 21, 30):
        engine = Brightness()
        _mattes(scene, RegionConfig(), engine, first_frame=first)
        counting = sum(max(0, run.stop_frame - max(run.start_frame, first - REACH)) for run in RUNS)
        assert engine.asked == whole[len(whole) - counting :]
