"""`clear-rt eval`: one result or folders of them, with a clean video or without; what is refused, and what is drawn."""

from __future__ import annotations

import json
import math
import struct
from contextlib import closing
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from clear_rt import frames
from clear_rt.cli import main
from clear_rt.errors import ExitStatus

HEIGHT_PX, WIDTH_PX, FRAMES = 48, 80, 6
INSIDE = np.zeros((HEIGHT_PX, WIDTH_PX), bool)
INSIDE[30:40, 16:64] = True


def clip(seed):
    """A smooth scene that moves, uint8 [T, H, W, 3]."""
    rows, columns = np.mgrid[:HEIGHT_PX, : WIDTH_PX + FRAMES]
    scene = 120 + 60 * np.sin(columns / (4 + seed)) * np.cos(rows / 5) + seed
    shown = np.stack([scene[:, i : i + WIDTH_PX] for i in range(FRAMES)])
    return shown[..., None].repeat(3, axis=-1).astype(np.uint8)


def write(path, pictures):
    form = frames.GRAY_LOSSLESS if pictures.ndim == 3 else frames.RGB_LOSSLESS
    path.parent.mkdir(parents=True, exist_ok=True)
    with frames.PlainWriter(path, pictures.shape[2], pictures.shape[1], Fraction(25), form) as writer:
        for i, picture in enumerate(pictures):
            writer.write(np.ascontiguousarray(picture), 40_000 * i)
    return path


@pytest.fixture
def make(tmp_path):
    """Function (name, seed, error) -> paths by role: a clean clip, text in it, a fill that is so many levels off."""

    def made(name, seed, error=6):
        clean = clip(seed)
        source, result = clean.copy(), clean.copy()
        source[:, INSIDE] = 255
        result[:, INSIDE] += np.uint8(error)
        mask = np.repeat(255 * INSIDE[None].astype(np.uint8), FRAMES, axis=0)
        pictures = {"result": result, "clean": clean, "source": source, "mask": mask}
        return {role: write(tmp_path / role / f"{name}.mkv", found) for role, found in pictures.items()}

    return made


def run(capfd, *arguments, status=0):
    """What is said on standard output and on standard error."""
    assert main(["eval", "--no-text", *map(str, arguments)]) == status
    return capfd.readouterr()


def options(paths, *roles):
    return [part for role in roles for part in (f"--{role}", paths[role])]


def expected_db(share, error):
    return 10 * math.log10(255**2 / (error**2 * share))


def test_one_result_beside_everything(capfd, make):
    paths = make("a", 0)
    arguments = [paths["result"], *options(paths, "clean", "source", "mask"), "--every-frames", 2]
    found = json.loads(run(capfd, *arguments, "--json").out)
    assert found["result"]["psnr"]["frame_db"] == pytest.approx(expected_db(INSIDE.mean(), 6))
    assert found["result"]["psnr"]["inside_db"] == pytest.approx(expected_db(1, 6))
    assert found["result"]["psnr"]["outside_db"] == found["changes"]["outside_db"] == "inf"
    assert found["changes"]["samples"] == pytest.approx(INSIDE.mean())
    assert found["changes"]["samples_outside"] == found["changes"]["pixels_outside"] == 0
    assert found["result"]["frames_with_text"] is found["result"]["lpips"] is found["vfid"] is None
    assert found["result"]["neighbours"]["warping"] > 0
    said = run(capfd, *arguments).out
    rows = {line.split("  ")[0].strip(): line.split() for line in said.splitlines() if line.strip()}
    assert said.splitlines()[0].split() == ["source", "result", "clean"]
    assert rows["PSNR dB"][-2] == f"{expected_db(INSIDE.mean(), 6):.2f}"
    assert {"SSIM", "warping error", "consistency", "flow mean px"} <= rows.keys()
    assert {"LPIPS", "DISTS", "MS-SSIM", "text found"}.isdisjoint(rows)
    assert "6 frames; mask: given, 12.50 % of the picture" in said
    assert "outside the mask 0 %; outside, source and result are inf dB apart, 0 pixels differ" in said


def test_without_a_clean_video(capfd, make):
    paths = make("a", 0)
    found = json.loads(run(capfd, paths["result"], *options(paths, "source"), "--json").out)
    assert found["clean"] is found["result"]["ssim"] is found["result"]["psnr"]["frame_db"] is None
    assert found["mask"] == "difference"
    assert found["changes"]["samples"] == pytest.approx(INSIDE.mean())
    said = run(capfd, paths["result"], *options(paths, "source", "mask")).out
    assert said.splitlines()[0].split() == ["source", "result"]
    assert "PSNR dB" not in said


def test_text_before_and_after_on_real_video(capfd, tmp_path, clean, subtitled):
    """Frames of the first caption, before and after."""
    pytest.importorskip("rapidocr_onnxruntime", reason="text is looked for with RapidOCR: the [eval] extra")
    paths = {}
    for name, video in (("clean", clean), ("source", subtitled)):
        info = frames.probe(video)
        with closing(frames.read(info)) as pictures:
            shown = [frame.rgb(info.height_px, info.width_px) for frame in islice(pictures, 16, 20)]
        paths[name] = write(tmp_path / f"{name}.mkv", np.stack(shown))
    assert main(["eval", str(paths["clean"]), "--source", str(paths["source"]), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["source"]["frames_with_text_on_mask"] == 1.0
    assert found["result"]["frames_with_text_on_mask"] == 0.0
    assert 0.02 < found["mask_share"] < 0.1


def test_folders_are_compared_pair_by_pair(capfd, make, tmp_path):
    errors = {"a": 4, "b": 10}
    for seed, (name, error) in enumerate(errors.items()):
        paths = make(name, seed, error)
    write(tmp_path / "result" / "short.mkv", clip(2)[:4])
    write(tmp_path / "clean" / "short.mkv", clip(2))
    write(tmp_path / "clean" / "lonely.mkv", clip(3))
    folders = {role: path.parent for role, path in paths.items()}
    sheets = tmp_path / "sheets"
    arguments = [folders["result"], *options(folders, "clean")]
    said = run(capfd, *arguments, "--sheet", sheets, "--json", status=2)
    found = json.loads(said.out)
    assert [(pair["place"], pair["evaluation"] is None) for pair in found["pairs"]] == [
        ("a.mkv", False), ("b.mkv", False), ("short.mkv", True), ("lonely", True),
    ]  # fmt: skip
    assert found["failed"] == 2
    assert "ends after 4 frames" in found["pairs"][2]["failure"]
    assert "lonely.mkv has no result of that name" in found["pairs"][3]["failure"]
    assert [line.removeprefix("clear-rt: ") for line in said.err.splitlines()] == [
        pair["failure"] for pair in found["pairs"][2:]
    ]
    each_db = [expected_db(INSIDE.mean(), error) for error in errors.values()]
    assert found["mean"]["result"]["psnr"]["frame_db"] == pytest.approx(np.mean(each_db))
    assert sorted(path.name for path in sheets.iterdir()) == ["a.mkv.png", "b.mkv.png"]
    lines = run(capfd, *arguments, status=2).out.splitlines()
    assert [line.split()[:2] for line in lines[1:6]] == [
        ["a.mkv", f"{each_db[0]:.2f}"], ["b.mkv", f"{each_db[1]:.2f}"], ["short.mkv", "failed"], ["lonely", "failed"],
        ["mean", f"{np.mean(each_db):.2f}"],
    ]  # fmt: skip
    assert lines[-1] == "4 pairs: 2 compared, 2 failed"


def test_folders_below_folders(capfd, make, tmp_path):
    make("x/a", 0)
    paths = make("y/a", 1)
    folders = {role: path.parents[1] for role, path in paths.items()}
    arguments = [folders["result"], *options(folders, "source", "mask")]
    assert "--recursive" in run(capfd, *arguments, status=ExitStatus.INPUT).err
    found = json.loads(run(capfd, *arguments, "--recursive", "--sheet", tmp_path / "sheets", "--json").out)
    assert [pair["place"] for pair in found["pairs"]] == ["x/a.mkv", "y/a.mkv"]
    assert (tmp_path / "sheets" / "y" / "a.mkv.png").exists()
    assert found["mean"]["changes"]["samples_outside"] == 0
    assert "changed outside" in run(capfd, *arguments, "--recursive").out


def test_a_sheet_is_drawn(capfd, make, tmp_path):
    pytest.importorskip("PIL", reason="labels are drawn by Pillow: the [eval] extra")
    paths, widths_px = make("a", 0), []
    for number, roles in enumerate((("clean", "source", "mask"), ("clean", "source"), ("clean",), ("source",))):
        sheet = tmp_path / f"{number}.png"
        run(capfd, paths["result"], *options(paths, *roles), "--sheet", sheet)
        content = sheet.read_bytes()
        assert content.startswith(b"\x89PNG")
        widths_px.append(struct.unpack(">I", content[16:20])[0])
    assert widths_px[0] == widths_px[1] > widths_px[2] > 0
    assert widths_px[3] < widths_px[1]


def refused(capfd, status, words, *arguments):
    said = run(capfd, *arguments, status=status)
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert words in said.err


def test_what_cannot_be_compared_is_refused_in_a_sentence(capfd, make, tmp_path):
    paths = make("a", 0)
    result, clean = paths["result"], options(paths, "clean")
    refused(capfd, ExitStatus.USAGE, "give --clean or --source", result)
    refused(capfd, ExitStatus.USAGE, "every_frames must be at least 1", result, *clean, "--every-frames", 0)
    refused(capfd, ExitStatus.USAGE, "give either files or folders", result.parent, *clean)
    refused(capfd, ExitStatus.INPUT, "absent.mkv", tmp_path / "absent.mkv", *clean)
    refused(capfd, ExitStatus.OUTPUT, "is the input itself", result, *clean, "--sheet", paths["clean"])
    refused(capfd, ExitStatus.OUTPUT, "does not exist", result, *clean, "--sheet", tmp_path / "no" / "sheet.png")
    vfid = [*options(paths, "source"), "--vfid-weights", tmp_path / "i3d.pt"]
    refused(capfd, ExitStatus.USAGE, "--vfid-weights compares with a clean video", result, *vfid)
    refused(capfd, ExitStatus.USAGE, "give --lpips-heads, too", result, *clean, "--lpips-weights", tmp_path / "a.pth")


def test_missing_weights_are_a_sentence(capfd, make, tmp_path):
    pytest.importorskip("torch", reason="networks are torch's: pip install '.[train]'")
    paths = make("a", 0)
    arguments = [*options(paths, "clean"), "--vfid-weights", tmp_path / "i3d.pt"]
    refused(capfd, ExitStatus.WEIGHTS, "expected a TorchScript file, found none", paths["result"], *arguments)


def test_help_says_where_weights_come_from(capfd):
    assert main(["eval", "--help"]) == 0
    said = " ".join(capfd.readouterr().out.split())
    for word in ("alexnet-owt-7be5be79.pth", "lpips", "vgg16-397923af.pth", "DISTS-pytorch", "I3D", "TorchScript"):
        assert word in said
