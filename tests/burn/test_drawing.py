"""Rendering itself: shaping, fonts, and the random sequences that training data depends on."""

import hashlib

import numpy as np
import pytest

from clear_rt.burn import fonts
from clear_rt.burn.config import BurnConfig
from clear_rt.burn.coverage import best_face, missing
from clear_rt.burn.fonts import FontFace, faces_for, installed_faces
from clear_rt.burn.render import render
from clear_rt.burn.scripts import ALL_SCRIPTS, SCRIPTS, random_line, script_of
from clear_rt.burn.styles import Style, random_style
from clear_rt.errors import ConfigError

ZERO_WIDTH_NON_JOINER = "\u200c"


def draw(text, script, **style):
    return render([text], SCRIPTS[script], Style(**style), faces_for(script)[0], 640, 360)


def test_random_sequences_are_those_of_the_training_data():
    digest = hashlib.sha256()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        for script in SCRIPTS.values():
            digest.update(repr((random_line(script, rng), random_style(rng))).encode())
    assert digest.hexdigest() == "97de88808c9e05f281c7fd269f5f93af7cc72cbd3ed14241e654e4b0c95c1faa"


@pytest.mark.parametrize("script", list(ALL_SCRIPTS))
def test_every_face_shows_every_letter_of_its_script(script):
    if script in ("th", "he") and not installed_faces(script):
        pytest.skip(f"no font for {script} here; Debian's fonts-noto-core has one")
    for face in faces_for(script):
        assert missing(face, "".join(ALL_SCRIPTS[script].pieces)) <= {"?"}


def test_arabic_letters_join_and_run_from_the_right():
    word = "سلام"
    joined, apart = draw(word, "ar").rgba, draw(ZERO_WIDTH_NON_JOINER.join(word), "ar").rgba
    assert joined.shape[1] < apart.shape[1]
    # Alef is a bare stroke, seen joins far wider: the word that begins with alef is narrow at its right end.
    ink = draw("اسسسسس", "ar", outline_share=0.0).rgba[..., 3].astype(float)
    tall = (ink > 128).any(axis=1).argmax()
    assert np.flatnonzero(ink[tall] > 128).mean() > 0.8 * ink.shape[1]


def test_karaoke_follows_the_reading_direction():
    for script, text, sung_side in (
        ("en", "follow the reading", slice(0, 60)),
        ("ar", "مرحبا كيف الآن", slice(-60, None)),
    ):
        style = Style(karaoke=(255, 0, 0), outline_share=0.0)
        rgba = render([text], SCRIPTS[script], style, faces_for(script)[0], 640, 360, 0.5).rgba
        sung = rgba[:, sung_side][rgba[:, sung_side, 3] == 255][:, :3]
        assert len(sung) > 20
        assert (sung == (255, 0, 0)).all()


def test_long_lines_shrink_into_the_picture():
    overlay = draw("word " * 80, "en")
    assert overlay.x_px >= 0
    assert overlay.x_px + overlay.rgba.shape[1] <= 640


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("你好", "zh"),
        ("これは山", "ja"),
        ("안녕", "ko"),
        ("Привет", "ru"),
        ("مرحبا", "ar"),
        ("Hello", "en"),
        ("Xin chào", "en"),
        ("Γιατί;", "el"),
        ("שלום", "he"),
        ("สวัสดี", "th"),
        ("नमस्ते", "hi"),
        ("...", "en"),
    ],
)
def test_script_of_text(text, script):
    assert script_of(text).name == script


def test_best_face_is_the_one_that_shows_the_text():
    latin, korean = faces_for("en")[0], faces_for("ko")[0]
    assert best_face((latin, korean), "안녕 Hello") == korean
    assert best_face((latin, korean), "Hello") == latin
    assert best_face((korean, latin), "Hello") == korean
    assert missing(latin, "a\ue123 \u200f") == {"\ue123"}


def test_no_font_is_one_sentence(monkeypatch):
    monkeypatch.setattr(fonts, "_FOLDERS", ())
    monkeypatch.setattr(fonts, "_PACKAGES", ())
    fonts._installed.cache_clear()
    fonts.installed_faces.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"no font for script 'ko'.*clear-rt\[eval\].*--font"):
            faces_for("ko")
    finally:
        fonts._installed.cache_clear()
        fonts.installed_faces.cache_clear()


def test_a_file_that_is_no_font_is_one_sentence(tmp_path):
    path = tmp_path / "not.ttf"
    path.write_bytes(b"no font")
    with pytest.raises(ConfigError, match=r"not\.ttf cannot be read as a font"):
        render(["x"], SCRIPTS["en"], Style(), FontFace(path), 64, 64)


@pytest.mark.parametrize(
    "wrong",
    [
        {"script": "xx"},
        {"style": "neon"},
        {"position": "left"},
        {"seed": -1},
        {"size_share": 0.0},
        {"size_share": 2.0},
        {"timing": "slow"},
        {"renderer": "cairo"},
        {"removes": "logos"},
        {"negatives": ("logo", "moon")},
        {"negatives": ("logo", "logo")},
        {"scene_texts": -1},
        {"damage": "vhs"},
        {"style": "vertical", "script": "ru"},
    ],
)
def test_config_refuses(wrong):
    with pytest.raises(ConfigError):
        BurnConfig(**wrong)
