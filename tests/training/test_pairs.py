"""Where pairs come from and what is in them: held-out footage is never used, one seed gives one pair."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("torch", reason="the losses are written in torch: pip install '.[train]'")
pytest.importorskip("PIL", reason="captions are drawn with Pillow: pip install '.[train]'")

from clear_rt.errors import ConfigError
from training import pairs
from training.backgrounds import CLIP_FRAMES, LEFT_OUT, SET_ASIDE, Stretch, footage, left_out, plan
from training.losses import MIN_SHARE, pseudo_label
from training.materials import HELD_OUT, TRAINING
from training.mix import MixConfig
from training.pairs import make_pair


def test_the_plan_uses_training_clips_and_stills_only():
    clips = {name: Path("clips") / name for name in TRAINING + HELD_OUT}
    stills = [Path("stills/a.jpg"), Path("stills/b.png")]
    used = [stretch.path for stretch in plan(clips, stills)]
    assert {path.name for path in used if path.parent.name == "clips"} == set(TRAINING)
    assert not {path.name for path in used} & set(HELD_OUT)
    assert [path for path in used if path.parent.name == "stills"] == stills
    assert plan({name: clips[name] for name in TRAINING}, stills) == plan(clips, stills)


def test_the_order_of_the_stretches_stands():
    """It numbers the shards, and with them the random sequences behind the embedded bundle."""
    found = plan({name: Path(name) for name in TRAINING}, [])
    assert [s.path.name for s in found] == ["vtest.avi"] * 4 + ["box.mp4", "cup.mp4"] + ["bbb.mp4"] * 22
    assert [s.start for s in found[6:]] == list(range(0, 14_300, 650))
    assert LEFT_OUT["bbb.mp4"] == ((850, 1350), (5100, 5300), *SET_ASIDE)
    assert len(SET_ASIDE) == 10
    assert all(80 < last - first < 300 for first, last in SET_ASIDE)


def test_what_is_left_out():
    for first, last in LEFT_OUT["bbb.mp4"]:
        assert all(left_out("bbb.mp4", index) for index in range(first - CLIP_FRAMES, last + 1))
        assert not left_out("bbb.mp4", first - CLIP_FRAMES - 1)
        assert not left_out("bbb.mp4", last + 1)
        assert not left_out("vtest.avi", first)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """A film called bbb.mp4 of 1450 tiny pictures, each of which carries its own number."""
    path = tmp_path_factory.mktemp("film") / "bbb.mp4"
    with av.open(path, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "bgr0"
        for index in range(1450):
            picture = np.empty((16, 16, 3), np.uint8)
            picture[:] = (index // 100, index % 100, 0)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("start", [0, 650, 1300])
def test_footage_honours_what_is_left_out(numbered, start):
    clips = [
        [int(picture[0, 0, 0]) * 100 + int(picture[0, 0, 1]) for picture in clip]
        for clip in footage(Stretch(numbered, start, start + 650, 24, 8))
    ]
    assert clips
    assert all(clip == list(range(clip[0], clip[0] + CLIP_FRAMES)) for clip in clips)
    indices = {index for clip in clips for index in clip}
    assert start <= min(indices)
    assert max(indices) < start + 650
    unwanted = [set(range(first - CLIP_FRAMES, last + 1)) for first, last in LEFT_OUT["bbb.mp4"]]
    assert not any(indices & set(range(first, last + 1)) for first, last in LEFT_OUT["bbb.mp4"])
    whole = range(start, min(start + 650, 1450) - CLIP_FRAMES + 1)
    wanted = [i for i in whole if i % 24 == 0 and not any(i in part for part in unwanted)]
    assert [clip[0] for clip in clips] == wanted


def scene(seed=0, height=180, width=320):
    rows, columns = np.mgrid[0:height, 0:width]
    picture = np.stack([columns * 255 // width, rows * 255 // height, 128 + 0 * rows], -1)
    return (picture + np.random.default_rng(seed).integers(-8, 9, picture.shape)).clip(0, 255).astype(np.uint8)


def test_identical_pictures_have_an_empty_label():
    assert not pseudo_label(scene(), scene()).any()


def test_text_is_labelled_and_little_else():
    clean = scene()
    subtitled, text = clean.copy(), np.zeros(clean.shape[:2], bool)
    for x in range(60, 260, 12):
        text[140:160, x : x + 5] = True
    subtitled[text] = 255
    label = pseudo_label(subtitled, clean)
    assert label.dtype == np.uint8
    assert set(np.unique(label)) == {0, 1}
    assert label[text].mean() > 0.99
    # The smoothing reaches one pixel beyond the letters.
    near = np.zeros_like(text)
    near[139:161, 59:258] = True
    assert not label[~near].any()


def test_codec_noise_alone_is_no_text():
    clean = scene()
    noise = np.random.default_rng(1).normal(0, 4, clean.shape)
    assert not pseudo_label((clean + noise).clip(0, 255).astype(np.uint8), clean).any()


def test_codec_noise_beside_text_is_not_labelled():
    clean = scene()
    noisy = (clean + np.random.default_rng(1).normal(0, 3, clean.shape)).clip(0, 255).astype(np.uint8)
    noisy[140:160, 60:260] = 255
    label = pseudo_label(noisy, clean)
    assert label[141:159, 61:259].mean() > 0.99
    assert label[:130].mean() < 0.001


def test_a_speck_is_too_small_for_a_label():
    clean = scene()
    side = int((MIN_SHARE * clean.shape[0] * clean.shape[1]) ** 0.5) - 1
    speck = clean.copy()
    speck[:side, :side] = 255
    assert not pseudo_label(speck, clean).any()


def _pairs(seed):
    clip = [scene(number, 360, 640) for number in range(CLIP_FRAMES)]
    try:
        return list(make_pair(clip, np.random.default_rng([7, seed])))
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_seed_gives_one_pair(seed):
    first, second = _pairs(seed), _pairs(seed)
    assert len(first) == 2
    for parts, again in zip(first, second, strict=True):
        subtitled, clean, label = parts
        assert subtitled.shape == clean.shape == (160, 320, 3)
        assert label.shape == (160, 320)
        for part, same in zip(parts, again, strict=True):
            np.testing.assert_array_equal(part, same)


def test_another_seed_gives_another_pair():
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(_pairs(0), _pairs(1), strict=True))


@pytest.fixture
def film(tmp_path):
    """Six pictures, two clips' worth, as one stretch of background."""
    path = tmp_path / "film.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "bgr0"
        for index in range(6):
            frame = av.VideoFrame.from_ndarray(scene(index, 360, 640), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Stretch(path, 0, 6, 3, 2)


def test_a_shard_is_that_of_its_number_and_holds_every_pair(film, tmp_path):
    shards = []
    for name, number in (("a", 4), ("b", 4), ("c", 5)):
        path = tmp_path / f"{name}.npy"
        assert pairs._shard((number, pairs.Job(film, MixConfig()), path, 7)) == 2 * 2 * 2
        shards.append(np.load(path))
    assert shards[0].shape == (8, 160, 320, 7)
    assert shards[0].dtype == np.uint8
    assert set(np.unique(shards[0][..., 6])) <= {0, 1}
    np.testing.assert_array_equal(shards[0], shards[1])
    assert not np.array_equal(shards[0], shards[2])
    assert not list(tmp_path.glob("*.partial*"))


def test_the_mix_is_heeded(film, tmp_path):
    bare = MixConfig(text_share=0.0, negative_share=0.0)
    pairs._shard((0, pairs.Job(film, bare), tmp_path / "bare.npy", 7))
    crops = np.load(tmp_path / "bare.npy")
    np.testing.assert_array_equal(crops[..., :3], crops[..., 3:6])
    assert not crops[..., 6].any()


def test_shards_of_an_earlier_mix_are_refused_before_any_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "write_shards", lambda *_: pytest.fail("shards were drawn"))
    np.save(tmp_path / "shard-000.npy", np.zeros(1))
    with pytest.raises(
        ConfigError, match=r"was drawn with version 1, now asked for version 3; give the same, or another"
    ):
        pairs.synthesise(tmp_path, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["shard-000.npy"]
