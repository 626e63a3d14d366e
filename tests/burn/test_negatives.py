"""What is no subtitle: drawn by seed, moving as it should, in both versions of a video or in the subtitled one."""

from typing import get_args

import numpy as np
import pytest

from clear_rt.burn.drawing import Drawing
from clear_rt.burn.looks import LOOKS
from clear_rt.burn.negatives.choice import overlays, scene_texts
from clear_rt.burn.negatives.picture_motion import PictureMotion
from clear_rt.burn.negatives.scene_text import _homography, on_plane
from clear_rt.burn.pillow import Image
from clear_rt.burn.recipe import NegativeName, Recipe
from clear_rt.burn.scripts import SCRIPTS

NAMES = get_args(NegativeName)
WIDTH, HEIGHT = 320, 180


def grey(height, width):
    return np.full((height, width, 3), 128, np.uint8)


def alphas(drawn, times_us, glimpse=grey):
    found = []
    for time_us in times_us:
        alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
        for shown in drawn.at(time_us, glimpse):
            overlay = shown.overlay
            rows, columns = overlay.rgba.shape[:2]
            assert 0 <= overlay.x_px <= WIDTH - columns
            assert 0 <= overlay.y_px <= HEIGHT - rows
            window = alpha[overlay.y_px : overlay.y_px + rows, overlay.x_px : overlay.x_px + columns]
            np.maximum(window, overlay.rgba[..., 3], out=window)
        found.append(alpha)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_one_overlay_whatever_else_is_drawn(name):
    times = (0, 700_000, 1_400_000)
    alone = alphas(overlays((name,), WIDTH, HEIGHT, tuple(SCRIPTS), 5)[0], times)
    among = overlays(NAMES, WIDTH, HEIGHT, tuple(SCRIPTS), 5)[NAMES.index(name)]
    np.testing.assert_array_equal(alone, alphas(among, times))
    other = alphas(overlays((name,), WIDTH, HEIGHT, tuple(SCRIPTS), 6)[0], times)
    assert not np.array_equal(alone, other)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(16, 16), (33, 17), (90, 160)])
def test_overlays_fit_any_picture(name, size):
    for seed in range(3):
        drawn = overlays((name,), *size, tuple(SCRIPTS), seed)[0]
        for time_us in (0, 5_000_000, 10**10):
            for shown in drawn.at(time_us, grey):
                rows, columns = shown.overlay.rgba.shape[:2]
                assert shown.overlay.x_px + columns <= size[0]
                assert shown.overlay.y_px + rows <= size[1]
                assert min(shown.overlay.x_px, shown.overlay.y_px) >= 0


def test_a_logo_stays_where_it_is_in_a_corner():
    for seed in range(6):
        first, last = alphas(overlays(("logo",), WIDTH, HEIGHT, tuple(SCRIPTS), seed)[0], (0, 10**9))
        np.testing.assert_array_equal(first, last)
        rows, columns = (np.flatnonzero(first.any(axis=axis)) for axis in (1, 0))
        assert rows.max() < HEIGHT / 2 or rows.min() > HEIGHT / 2
        assert columns.max() < WIDTH / 2 or columns.min() > WIDTH / 2


def shift_of(before, after, axis):
    """The whole number of pixels, up to 40, that explains best how one picture became another."""
    fits = {}
    for shift in range(-40, 41):
        moved = np.roll(before, shift, axis=axis)
        inner = (slice(45, -45), slice(None))[:: 1 if axis == 0 else -1]
        fits[shift] = np.abs(moved[inner].astype(int) - after[inner]).sum()
    return min(fits, key=fits.get)


def test_credits_roll_up_and_tickers_crawl():
    rolling = overlays(("credits",), WIDTH, HEIGHT, tuple(SCRIPTS), 2)[0]
    steps = [shift_of(*alphas(rolling, (t, t + 500_000)), 0) for t in (0, 300_000)]
    assert all(-0.2 * HEIGHT / 2 - 1 <= step <= -0.06 * HEIGHT / 2 + 1 for step in steps)
    assert abs(steps[0] - steps[1]) <= 1
    crawling = overlays(("ticker",), WIDTH, HEIGHT, tuple(SCRIPTS), 1)[0]
    pictures = [crawling.at(t, grey)[0].overlay.rgba[..., :3].max(axis=2) for t in (0, 500_000)]
    full = [np.repeat(picture[picture.shape[0] // 2][None], 3, axis=0) for picture in pictures]
    moved = shift_of(full[0], full[1], 1)
    assert 0.05 * WIDTH / 2 - 1 <= abs(moved) <= 0.2 * WIDTH / 2 + 1


def test_signs_come_and_go():
    sign = overlays(("sign",), WIDTH, HEIGHT, tuple(SCRIPTS), 3)[0]
    there = [bool(alpha.any()) for alpha in alphas(sign, range(0, 20_000_000, 250_000))]
    assert 0.3 < np.mean(there) < 1
    assert np.count_nonzero(np.diff(there)) >= 3


def texture(seed=0, height=300, width=500):
    """A smooth random scene, from which windows can be cut at fractions of a pixel."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height // 4, width // 4, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def panned(image, dx, dy, frames):
    """Glimpses of a camera that moves by (-dx, -dy), so that the scene moves by (dx, dy) pixels of 320x180 a frame."""
    for t in range(frames):
        box = (90 - t * dx, 60 - t * dy, 90 - t * dx + WIDTH, 60 - t * dy + HEIGHT)
        yield lambda height, width, box=box: np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box))


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (4.0, -3.0), (-7.5, 2.25), (1.5, 6.0)])
def test_motion_of_the_picture_is_found_to_a_fraction_of_a_pixel(dx, dy):
    motion = PictureMotion(WIDTH, HEIGHT)
    steps = [motion.step(glimpse) for glimpse in panned(texture(), dx, dy, 6)]
    assert steps[0] == (0.0, 0.0)
    # Half a pixel of the 160 x 96 grid that is looked at, as parabolas through a peak are biased towards its samples.
    assert np.abs(np.array(steps[1:]) - (dx, dy)).max() <= 0.5 * WIDTH / 160


def test_a_cut_and_noise_move_nothing():
    motion = PictureMotion(WIDTH, HEIGHT)
    rng = np.random.default_rng(1)
    for _ in range(4):
        noise = rng.integers(0, 256, (96, 160, 3)).astype(np.uint8)
        assert motion.step(lambda height, width, noise=noise: noise) == (0.0, 0.0)
    assert PictureMotion(WIDTH, HEIGHT).step(grey) == (0.0, 0.0)


def test_scene_text_goes_with_the_scene():
    drawn = scene_texts(1, WIDTH, HEIGHT, tuple(SCRIPTS), 4)[0]
    middles = []
    for glimpse in panned(texture(), 3.0, 1.5, 8):
        (alpha,) = alphas(drawn, (0,), glimpse)
        rows, columns = np.nonzero(alpha > 128)
        middles.append((columns.mean(), rows.mean()))
    moved = np.array(middles[-1]) - middles[0]
    assert np.abs(moved - (21, 10.5)).max() < 5


def test_a_plane_maps_corners_to_corners():
    corners = np.array([(10.0, 20.0), (90.0, 5.0), (80.0, 70.0), (20.0, 60.0)])
    a, b, c, d, e, f, g, h = _homography(corners, (64, 32))
    for (x, y), (u, v) in zip(corners, [(0, 0), (64, 0), (64, 32), (0, 32)], strict=True):
        depth = g * x + h * y + 1
        assert (a * x + b * y + c) / depth == pytest.approx(u, abs=1e-9)
        assert (d * x + e * y + f) / depth == pytest.approx(v, abs=1e-9)
    board = Image.new("RGBA", (64, 32), (200, 10, 10, 255))
    overlay = on_plane(board, corners, 320, 180)
    area = 0.5 * abs(sum(corners[i, 0] * corners[i - 1, 1] - corners[i - 1, 0] * corners[i, 1] for i in range(4)))
    outline = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).sum()
    assert abs((overlay.rgba[..., 3] > 127).sum() - area) < outline
    assert on_plane(board, corners + 1000, 320, 180).rgba.size == 0


@pytest.mark.parametrize("removes", ["subtitles", "all"])
def test_the_label_says_what_stays(removes):
    recipe = Recipe(look=LOOKS["always"], negatives=NAMES, scene_texts=1, removes=removes, seed=2)
    seen = Drawing(recipe, WIDTH, HEIGHT).at(0, grey)
    assert (len(seen.stays), len(seen.goes)) == ((5, 1) if removes == "subtitles" else (1, 5))
