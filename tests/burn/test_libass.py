"""libass as a second renderer: it draws what Pillow draws, its alpha is the true one, and its absence is a sentence."""

import os
import stat
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from clear_rt.burn import libass
from clear_rt.burn.ass_document import PROBE_CS, ass_document
from clear_rt.burn.config import BurnConfig
from clear_rt.burn.font_facts import font_facts
from clear_rt.burn.fonts import FontFace, faces_for, installed_faces
from clear_rt.burn.libass import Libass, ffmpeg_with_ass
from clear_rt.burn.lines import Caption
from clear_rt.burn.looks import LOOKS
from clear_rt.burn.render import draw
from clear_rt.burn.scripts import ALL_SCRIPTS
from clear_rt.burn.typeset import Line, typeset
from clear_rt.burn.video import burn
from clear_rt.errors import ConfigError

try:
    ffmpeg_with_ass()
    MISSING = ""
except ConfigError as error:
    MISSING = str(error)
needs_ffmpeg = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def large(name):
    """A look in letters of 180 px, in which edges are few."""
    return replace(LOOKS[name], style=replace(LOOKS[name].style, size_share=0.25))


def setting_of(look, text="Hill", script="en"):
    return typeset([Line(text, ALL_SCRIPTS[script], faces_for(script)[0])], look, 1280, 720)


def aligned(overlay, setting):
    """The part of an overlay's alpha that lies on the setting's canvas."""
    top, left = setting.y_px - overlay.y_px, setting.x_px - overlay.x_px
    return overlay.rgba[top : top + setting.height_px, left : left + setting.width_px].astype(float)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["outline", "box", "shadow", "karaoke", "hollow", "gradient", "translucent"])
def test_it_draws_what_pillow_draws(name):
    look = large(name)
    setting = setting_of(look)
    pillow, other = draw(setting, look, 0.5).rgba.astype(float), aligned(Libass()(setting, look, 0.5), setting)
    # Two rasterisers differ along edges, by a pixel where hinting does: not in how much is covered, nor in colour.
    assert abs(pillow[..., 3].sum() / other[..., 3].sum() - 1) < 0.08
    strong = (pillow[..., 3] > 100) & (other[..., 3] > 100)
    assert strong.sum() > 0.8 * (pillow[..., 3] > 100).sum()
    apart = np.abs(pillow[strong][:, :3] - other[strong][:, :3]).max(axis=1)
    # One band of the gradient; where alpha is a half, a level that was rounded is two.
    assert np.median(apart) <= 6


@needs_ffmpeg
@pytest.mark.parametrize("script", ["zh", "ar", "hi", "el"])
def test_it_finds_the_font_of_a_script(script):
    text = ALL_SCRIPTS[script].joiner.join(ALL_SCRIPTS[script].pieces[:5])
    look = LOOKS["outline"]
    setting = setting_of(look, text, script)
    pillow, other = draw(setting, look).rgba[..., 3], aligned(Libass()(setting, look, 0.5), setting)[..., 3]
    both = (pillow > 128) & (other > 128)
    assert both.sum() > 0.7 * (pillow > 128).sum()


@needs_ffmpeg
def test_its_alpha_blends_as_the_filter_itself_does(tmp_path):
    """Against ffmpeg drawing over grey: a third ground, which the alpha was not made from."""
    look = LOOKS["shadow"]
    setting = setting_of(look)
    face = setting.lines[0].line.face
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts" / face.path.name).symlink_to(face.path)
    (tmp_path / "x.ass").write_text(ass_document(setting, look, 0.5, setting.size_px // 2))
    overlay = Libass()(setting, look, 0.5)
    height, width = overlay.rgba.shape[:2]
    drawing = f"setpts=PTS+{PROBE_CS // 100}/TB,ass=f=x.ass:fontsdir=fonts"
    graph = f"color=c=0x808080:s={width}x{height}:r=1:d=1,format=rgb24,{drawing}"
    command = [ffmpeg_with_ass(), "-v", "error", "-f", "lavfi", "-i", graph, "-frames:v", "1", "-f", "rawvideo"]
    done = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], cwd=tmp_path, capture_output=True, check=True)
    over_grey = np.frombuffer(done.stdout, np.uint8).reshape(height, width, 3).astype(float)
    alpha = overlay.rgba[..., 3:] / 255
    wanted = 128 + (overlay.rgba[..., :3] - 128.0) * alpha
    # Each of the three grounds is rounded by the filter for every layer it blends: two layers here.
    assert np.abs(over_grey - wanted).max() <= 4


@needs_ffmpeg
def test_it_serves_burn(make_video, tmp_path):
    clean = make_video(frames=3, width_px=160, height_px=90)
    config = BurnConfig(style="slide", renderer="libass", size_share=0.2, script="ja")
    captions = [Caption(0, 10**6, ("山 {x} \\N",))]
    report = burn(clean, tmp_path / "o.mkv", config, captions=captions, mask=tmp_path / "m.mkv")
    assert report.frames_with_text > 0


@pytest.mark.parametrize("script", list(ALL_SCRIPTS))
def test_names_and_sizes_come_from_the_font_itself(script):
    font_tools = pytest.importorskip("fontTools.ttLib")
    for face in installed_faces(script)[:2]:
        font = font_tools.TTFont(face.path, fontNumber=face.index, lazy=True)
        facts = font_facts(face)
        assert facts.name == font["name"].getDebugName(6 if "CFF " in font else 4)
        height = font["OS/2"].usWinAscent + font["OS/2"].usWinDescent
        assert facts.line_share == height / font["head"].unitsPerEm


def test_a_file_without_tables_is_one_sentence(tmp_path):
    for content in (b"", b"no font", b"ttcf" + bytes(40)):
        path = tmp_path / f"{len(content)}.ttf"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="no tables that libass could go by") as caught:
            font_facts(FontFace(path))
        assert len(str(caught.value).splitlines()) == 1


def test_no_ffmpeg_and_one_without_libass_are_sentences(monkeypatch, tmp_path, make_video):
    monkeypatch.setenv("PATH", str(tmp_path))
    clean = make_video(frames=1)
    target = tmp_path / "o.mkv"
    with pytest.raises(ConfigError, match=r"none is on PATH; apt-get install ffmpeg"):
        burn(clean, target, BurnConfig(renderer="libass"))
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho ' ... scale V->V Scale.'\n")
    fake.chmod(fake.stat().st_mode | stat.S_IEXEC)
    with pytest.raises(ConfigError, match="was built without libass"):
        burn(clean, target, BurnConfig(renderer="libass"))
    fake.write_text("#!/bin/sh\necho 'first' >&2\necho 'it broke' >&2\nexit 3\n")
    libass._has_ass.cache_clear()
    with pytest.raises(ConfigError, match=r"failed \(it broke\)"):
        ffmpeg_with_ass()
    libass._has_ass.cache_clear()
    assert [path.name for path in tmp_path.iterdir()] == ["ffmpeg"]
    assert os.environ["PATH"] == str(tmp_path)
