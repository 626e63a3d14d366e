"""`clear-rt burn` on the command line: what stays is in the twin, what goes in the mask; wrong options are refused."""

import numpy as np
import pytest

from clear_rt.cli import main
from clear_rt.errors import ExitStatus
from clear_rt.frames.read import read


def luma(path):
    return [frame.planes[0].samples.astype(int) for frame in read(path)]


@pytest.mark.parametrize("removes", ["subtitles", "all"])
def test_negatives_stay_or_go(capfd, make_video, tmp_path, removes):
    clean = make_video("yuv444p", frames=3, width_px=320, height_px=180)
    target, mask, twin = (tmp_path / name for name in ("o.mkv", "m.mkv", "t.mkv"))
    arguments = ["burn", clean, "-o", target, "--mask", mask, "--twin", twin, "--lossless", "--style", "outline"]
    arguments += ["--negatives", "logo, ticker,sign,credits", "--scene-texts", "1", "--removes", removes, "--seed", "4"]
    assert main([str(argument) for argument in arguments]) == 0
    assert "captions on 3 of 3 frames" in capfd.readouterr().out
    for before, subtitled, other, alpha in zip(*map(luma, (clean, target, twin, mask)), strict=True):
        assert not (subtitled != other)[alpha == 0].any()
        assert (subtitled != other)[alpha > 64].mean() > 0.5
        kept = (other != before).mean()
        assert kept > (0.05 if removes == "subtitles" else 0.003)
        assert (alpha > 0).mean() > (0.0 if removes == "subtitles" else 0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--negatives", "logo,moon"], "--negatives must be one of logo, ticker, credits, sign"),
        (["--damage", "vhs"], "damage must be none, any or of h264"),
        (["--style", "vertical", "--script", "ru"], "--style vertical is for zh"),
        (["--scene-texts", "-1"], "--scene-texts must be 0 or more"),
    ],
)
def test_wrong_options_are_one_sentence(capfd, make_video, tmp_path, options, words):
    target = tmp_path / "o.mkv"
    assert main(["burn", str(make_video(frames=1)), "-o", str(target), *options]) == ExitStatus.USAGE
    said = capfd.readouterr().err.strip()
    assert words in said
    assert len(said.splitlines()) == 1
    assert not target.exists()


def test_every_option_at_once_gives_one_result(make_video, tmp_path):
    clean = make_video(frames=4, width_px=160, height_px=90)
    results = []
    for name in ("a", "b"):
        target = tmp_path / f"{name}.mkv"
        options = ["--style", "any", "--script", "all", "--timing", "short", "--damage", "any", "--seed", "11"]
        options += ["--negatives", "ticker", "--scene-texts", "2", "--lossless"]
        assert main(["burn", str(clean), "-o", str(target), *options]) == 0
        results.append(np.stack(luma(target)))
    np.testing.assert_array_equal(*results)
