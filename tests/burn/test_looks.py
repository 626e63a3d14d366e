"""Every look changes what its mask covers and nothing else, and is what its name says."""

from dataclasses import replace

import numpy as np
import pytest

from clear_rt.burn.config import STYLES, BurnConfig
from clear_rt.burn.drawing import Drawing
from clear_rt.burn.fonts import faces_for
from clear_rt.burn.lines import Caption
from clear_rt.burn.looks import LOOKS, Effects, Look, random_look
from clear_rt.burn.overlay import Overlay, blend
from clear_rt.burn.recipe import Recipe
from clear_rt.burn.render import draw
from clear_rt.burn.scene_colour import scene_colour
from clear_rt.burn.scripts import ALL_SCRIPTS
from clear_rt.burn.styles import Style
from clear_rt.burn.typeset import Line, typeset

WIDTH, HEIGHT = 320, 180
HELLO = (Caption(0, 4_000_000, ("Hello",), "en"),)


def scene():
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([columns * 120 // WIDTH + 20, rows * 120 // HEIGHT + 40, 90 + 0 * rows], -1).astype(np.uint8)


def seen(look, time_us, captions=HELLO, **recipe):
    """(picture, alpha) at a time, asked for after the frames before it."""
    picture = scene()
    drawing = Drawing(Recipe(look=look, **recipe), WIDTH, HEIGHT, iter(captions))
    for now_us in sorted({0, time_us}):
        shown = drawing.at(now_us, lambda height, width: picture).goes
    alpha = np.zeros((HEIGHT, WIDTH))
    for one in shown:
        overlay = one.overlay
        rows, columns = overlay.rgba.shape[:2]
        alpha[overlay.y_px : overlay.y_px + rows, overlay.x_px : overlay.x_px + columns] += overlay.rgba[..., 3]
        picture = blend(picture, overlay, one.opacity / 255)
    return picture, alpha


def still(look, text="Hello", script="en"):
    return draw(typeset([Line(text, ALL_SCRIPTS[script], faces_for(script)[0])], look, WIDTH, HEIGHT), look)


@pytest.mark.parametrize("style", STYLES)
def test_a_look_changes_what_it_covers_and_nothing_else(style):
    look = BurnConfig(style=style, seed=4).look()
    picture, alpha = seen(look, 2_000_000)
    changed = (picture != scene()).any(axis=2)
    assert not changed[alpha == 0].any()
    assert alpha.max() > 0
    assert changed[alpha > 64].mean() > 0.8


def test_looks_are_drawn_by_seed_and_all_of_them_are():
    drawn = [random_look(np.random.default_rng(seed)) for seed in range(400)]
    assert drawn == [random_look(np.random.default_rng(seed)) for seed in range(400)]
    assert {look.motion.kind for look in drawn} == {"still", "crawl", "slide", "rise", "drift"}
    plain = [look for look in drawn if look == Look(style=look.style)]
    assert 0.5 < len(plain) / len(drawn) < 0.7
    for found in (
        [look.always for look in drawn],
        [look.vertical for look in drawn],
        [look.second_size > 0 for look in drawn],
        [look.effects.scene_colour for look in drawn],
        [look.effects.glow_share > 0 for look in drawn],
        [look.effects.emboss > 0 for look in drawn],
        [look.effects.smear_share > 0 for look in drawn],
        [look.effects.fill_alpha < 1 for look in drawn],
    ):
        assert 2 <= sum(found) <= 60
    assert all(random_look(np.random.default_rng(seed), 0.0).effects == Effects() for seed in range(40))


def test_hollow_letters_let_the_picture_through_by_their_alpha():
    style = Style(size_share=0.3, outline_share=0.1)
    whole, hollow = still(Look(style=style)), still(Look(style=style, effects=LOOKS["hollow"].effects))
    inside = (whole.rgba == 255).all(axis=2)
    assert inside.sum() > 200
    assert (hollow.rgba[inside][:, 3] == round(255 * LOOKS["hollow"].effects.fill_alpha)).all()
    outline = (whole.rgba == (0, 0, 0, 255)).all(axis=2)
    np.testing.assert_array_equal(hollow.rgba[outline], whole.rgba[outline])


def test_glow_reaches_beyond_the_outline_and_fades():
    plain, glowing = still(Look(style=Style(outline_share=0.04))), still(LOOKS["glow"])
    assert glowing.rgba.shape[0] > plain.rgba.shape[0]
    halo = glowing.rgba[..., 3].max(axis=0)
    assert halo[0] <= 2
    assert 0 < halo[np.flatnonzero(halo)[0] + 2] < 128


def test_emboss_lights_the_upper_left():
    look = Look(style=Style(size_share=0.4, colour=(128, 128, 128), outline_share=0.0), effects=Effects(emboss=1.0))
    rgba = still(look, "I").rgba
    row = rgba[rgba.shape[0] // 2]
    ink = np.flatnonzero(row[:, 3] == 255)
    assert int(row[ink[0] + 1, 0]) > 128 + 15
    assert int(row[ink[-1] - 1, 0]) < 128 - 15


def test_blurred_text_is_as_much_text_along_the_line():
    alpha, before = seen(LOOKS["blurred"], 0)[1], seen(Look(), 0)[1]
    # Every sample is rounded to a whole level once.
    assert abs(alpha.sum() - before.sum()) <= 0.5 * np.count_nonzero(alpha)
    assert np.abs(np.diff(alpha, axis=1)).max() < 0.8 * np.abs(np.diff(before, axis=1)).max()


def test_a_crawl_runs_from_right_to_left_at_its_speed():
    text = (Caption(0, 10**9, ("a line that crawls",), "en"),)
    look = replace(LOOKS["crawl"], motion=replace(LOOKS["crawl"].motion, shutter_us=0))
    fronts = [np.flatnonzero(seen(look, t, text)[1].any(axis=0)).min() for t in (500_000, 1_000_000, 1_500_000)]
    assert np.abs(np.diff(fronts) + look.motion.speed_share * WIDTH / 2).max() <= 1
    assert not seen(look, 0, text)[1].any()


@pytest.mark.parametrize(("name", "axis"), [("slide", 1), ("rise", 0)])
def test_text_comes_in_stays_and_leaves(name, axis):
    middles = []
    for time_us in (100_000, 200_000, 2_000_000, 3_000_000, 3_900_000):
        alpha = seen(LOOKS[name], time_us)[1]
        middles.append((alpha.sum(axis=1 - axis) * np.arange(alpha.shape[axis])).sum() / max(alpha.sum(), 1))
    assert middles[2] == middles[3]
    first, second, there, last = middles[0], middles[1], middles[2], middles[4]
    assert abs(second - there) < abs(first - there)
    assert abs(last - there) > abs(second - there)


def test_text_that_is_always_there_is_there_in_the_end():
    times = Recipe(look=LOOKS["always"]).times
    assert times.shown_us[0] > 3600 * 24 * 365 * 1_000_000
    drawing = Drawing(Recipe(look=LOOKS["watermark"]), WIDTH, HEIGHT)
    first, last = (drawing.at(t, lambda height, width: scene()).goes for t in (0, 10**11))
    assert len(first) == len(last) == 1
    assert np.array_equal(first[0].overlay.rgba, last[0].overlay.rgba)


def test_columns_run_down_from_the_right_edge():
    alpha = seen(LOOKS["vertical"], 0, (Caption(0, 9, ("今日は山の上", "見た"), "ja"),))[1]
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    assert len(rows) > 2 * len(columns)
    assert columns.min() > 0.8 * WIDTH
    left, right = np.array_split(alpha[:, columns.min() : columns.max() + 1] > 0, 2, axis=1)
    assert right.any(axis=1).sum() > 2 * left.any(axis=1).sum()


def test_the_second_language_is_smaller_and_has_its_own_font():
    recipe = Recipe(look=LOOKS["bilingual"], scripts=("en", "zh"))
    drawing = Drawing(recipe, WIDTH, HEIGHT, iter([Caption(0, 9, ("Hello", "你好吗"), "en", second="zh")]))
    upper, lower = drawing.painter._lines(Caption(0, 9, ("Hello", "你好吗"), "en", second="zh"))
    assert upper.face != lower.face
    assert (upper.scale, lower.scale) == (1.0, LOOKS["bilingual"].second_size)
    assert drawing.at(0, lambda height, width: scene()).goes
    assert not drawing.painter.missing_characters


def test_a_colour_of_the_scene_is_one_of_it_and_can_still_be_read():
    overlay = Overlay(np.full((20, 100, 4), 255, np.uint8), 100, 100)
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    colour = scene_colour(picture, overlay)
    assert (picture[90:130, 100:200].reshape(-1, 3) == colour).all(axis=1).any()
    for level in (0, 12, 128, 240, 255):
        flat = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
        assert abs(int(scene_colour(flat, overlay)[0]) - level) >= 27
    outside = Overlay(overlay.rgba, -500, 900)
    assert len(scene_colour(picture, outside)) == 3


def test_the_scenes_colour_is_that_of_the_frame_in_which_the_caption_appears():
    look = replace(LOOKS["scene"], style=replace(LOOKS["scene"].style, outline_share=0.0, size_share=0.3))
    captions = [Caption(0, 9, ("X",), "en"), Caption(0, 9, ("Y",), "en", top=True)]
    drawing = Drawing(Recipe(look=look), WIDTH, HEIGHT, iter(captions))
    shown = []
    for time_us, level in ((0, 60), (4, 200), (8, 90)):
        flat = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
        pair = drawing.at(time_us, lambda height, width, flat=flat: flat).goes
        assert len(pair) == 2
        shown.append(pair[0].overlay)
    assert shown[0] is shown[1] is shown[2]
    assert shown[0].rgba[shown[0].rgba[..., 3] == 255][0, 0] == 60 + 28
