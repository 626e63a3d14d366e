"""Both clips of a pair: what stays is in both, what goes in one, and damage is the same for both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("PIL", reason="captions are drawn with Pillow: pip install '.[train]'")

from clear_rt.burn.damage.damage import Damage
from clear_rt.burn.fonts import installed_faces
from clear_rt.burn.looks import LOOKS
from clear_rt.burn.recipe import Recipe
from training.drawn_pair import DrawnPair, damage_pair, draw_pair, label_of
from training.losses import pseudo_label

pytestmark = pytest.mark.skipif(not installed_faces("en"), reason="fonts of the [eval] extra are missing")

NEGATIVES = ("logo", "ticker", "credits", "sign")


def clip():
    rows, columns = np.mgrid[0:180, 0:320]
    moving = [np.stack([columns + 4 * t, rows + 60, rows + columns], -1) % 200 for t in range(3)]
    return [picture.astype(np.uint8) for picture in moving]


def recipe(**changes):
    settings = {"look": LOOKS["always"], "scripts": ("en",), "damage": Damage(codec="h264", rate=16), "seed": 4}
    return Recipe(**(settings | changes))


def apart(pair, index=0):
    return (pair.subtitled[index] != pair.clean[index]).any(axis=2)


def test_what_stays_is_in_both_and_what_goes_in_one():
    made = {
        removes: draw_pair(clip(), recipe(negatives=NEGATIVES, removes=removes), np.random.default_rng(1), text=True)
        for removes in ("subtitles", "all")
    }
    stays, goes = made["subtitles"], made["all"]
    assert (stays.clean[0] != clip()[0]).any(axis=2).mean() > 0.05
    np.testing.assert_array_equal(goes.clean, clip())
    # What is laid over stays the same picture, whether it is to be removed or not.
    np.testing.assert_array_equal(stays.subtitled, goes.subtitled)
    assert apart(goes).sum() > apart(stays).sum() > 0
    assert (stays.stays > 0).mean() > 0.05
    assert not goes.stays.any()


def test_scene_text_stays_whatever_is_removed():
    for removes in ("subtitles", "all"):
        pair = draw_pair(clip(), recipe(scene_texts=1, removes=removes), np.random.default_rng(1), text=False)
        np.testing.assert_array_equal(pair.subtitled, pair.clean)
        assert (pair.clean[0] != clip()[0]).any()
        assert pair.stays.any()


def test_damage_leaves_a_pair_alike_where_nothing_was_drawn():
    damage = Damage(grain=3.0, scale=0.8, combed=2, jpeg=80, codec="h264", rate=16)
    large = replace(LOOKS["always"], style=replace(LOOKS["always"].style, size_share=0.2))
    told = recipe(damage=damage, look=large, seed=5)
    pair = damage_pair(draw_pair(clip(), told, np.random.default_rng(1), text=True), told, (320, 180), "AREA")
    assert len(pair.subtitled) == len(pair.clean) == 3
    assert {picture.shape for picture in (*pair.subtitled, *pair.clean)} == {(180, 320, 3)}
    upper = np.abs(pair.subtitled[1][:80].astype(int) - pair.clean[1][:80]).mean()
    lower = np.abs(pair.subtitled[1][120:].astype(int) - pair.clean[1][120:]).mean()
    assert upper < 1.5
    assert lower > 8


def test_a_clip_without_text_is_damaged_once():
    pair = draw_pair(clip(), recipe(), np.random.default_rng(1), text=False)
    after = damage_pair(pair, recipe(), (160, 90), "BILINEAR")
    assert after.subtitled is after.clean
    assert after.clean[0].shape == (90, 160, 3)
    assert after.stays.shape == (90, 160)


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg2", "mpeg4"])
def test_every_codec_gives_every_picture(codec):
    told = recipe(damage=Damage(codec=codec, rate=8))
    after = damage_pair(draw_pair(clip(), told, np.random.default_rng(2), text=True), told, (320, 180), "AREA")
    for picture, before in zip(after.clean, clip(), strict=True):
        others = [np.abs(picture.astype(int) - other).mean() for other in clip()]
        assert np.argmin(others) == next(i for i, one in enumerate(clip()) if np.array_equal(one, before))


def test_now_and_then_there_are_lines_at_both_edges():
    both = 0
    for seed in range(30):
        pair = draw_pair(clip()[:1], recipe(), np.random.default_rng(seed), text=True)
        rows = np.flatnonzero(apart(pair).any(axis=1))
        assert rows.max() > 90
        both += bool(rows.min() < 90)
    assert 1 <= both <= 8


def test_the_label_is_of_the_pair_before_its_codec():
    large = replace(LOOKS["always"], style=replace(LOOKS["always"].style, size_share=0.2))
    told = recipe(damage=Damage(grain=6.0, jpeg=20, codec="h264", rate=36), look=large)
    pair = draw_pair(clip(), told, np.random.default_rng(1), text=True)
    label = label_of(pair, told, (320, 180), 2) > 0
    drawn = apart(pair, 2)
    # All of the text but its faintest edges, and one pixel around it.
    assert label[drawn].mean() > 0.9
    padded = np.pad(drawn, 1)
    near = np.logical_or.reduce([padded[y : y + 180, x : x + 320] for y in range(3) for x in range(3)])
    assert not (label & ~near).any()
    worn = damage_pair(pair, told, (320, 180), "AREA")
    assert pseudo_label(worn.subtitled[2], worn.clean[2])[~near].any()


def test_the_label_is_at_the_size_that_is_shown():
    told = recipe()
    pair = draw_pair(clip(), told, np.random.default_rng(1), text=True)
    assert label_of(pair, told, (640, 360), 0).shape == (360, 640)
    plain = draw_pair(clip(), told, np.random.default_rng(1), text=False)
    assert not label_of(plain, told, (640, 360), 0).any()


def test_the_label_is_combed_as_the_picture_is():
    """A caption that is there from the second picture on: the first rows of the first picture are woven into it."""
    pair = draw_pair(clip(), recipe(), np.random.default_rng(1), text=True)
    late = DrawnPair([pair.clean[0], *pair.subtitled[1:]], pair.clean, pair.stays)
    told = recipe(damage=Damage(combed=5, cadence=5))
    rows = label_of(late, told, (320, 180), 1).sum(axis=1), label_of(late, recipe(), (320, 180), 1).sum(axis=1)
    assert 0 < rows[0].sum() < 0.9 * rows[1].sum()


def test_rows_of_a_caption_that_has_ended_are_labelled():
    pair = draw_pair(clip(), recipe(), np.random.default_rng(1), text=True)
    ended = DrawnPair([*pair.subtitled[:1], *pair.clean[1:]], pair.clean, pair.stays)
    assert label_of(ended, recipe(damage=Damage(combed=5, cadence=5)), (320, 180), 1).any()
    assert not label_of(ended, recipe(), (320, 180), 1).any()
