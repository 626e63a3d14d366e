"""Videos with and without subtitles: pictures for Stage I and latents for Stage II, of real files, without a mask."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("peft", reason="Stage II needs peft: pip install '.[train]'")
pytest.importorskip("PIL", reason="pictures are scaled with Pillow: pip install '.[train]'")

from PIL import Image, ImageDraw, ImageFont  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from clear_rt.errors import ConfigError, InputError, WeightsError  # noqa: E402
from clear_rt.models.weights import load_vae  # noqa: E402
from tests.training.small_base import VAE, base_folder  # noqa: E402
from training import encoded_videos, paired_videos  # noqa: E402
from training.encoded_videos import EncodingConfig, _Job, encoding_size, on_tokens  # noqa: E402
from training.found_maps import finder  # noqa: E402
from training.losses import paper_label  # noqa: E402
from training.networks_resnet import ResNetPrior  # noqa: E402
from training.whole_windows import WholeWindows  # noqa: E402


def scene(frames, width=176, height=112, seed=0):
    """A smooth picture that moves, uint8 [F, H, W, 3]; every frame another."""
    rows, columns = np.mgrid[0:height, 0:width]
    pictures = [
        np.stack([columns + 3 * t, rows + 40 + seed, 0 * rows + 90 + 2 * t], -1).clip(0, 200) for t in range(frames)
    ]
    return np.stack(pictures).astype(np.uint8)


def lettered(pictures):
    sheet = Image.new("L", pictures.shape[2:0:-1])
    font = ImageFont.load_default(size=18)
    ImageDraw.Draw(sheet).text((88, 92), "What is said here", fill=255, font=font, anchor="mm")
    return np.where(np.asarray(sheet)[None, ..., None] > 127, np.uint8(255), pictures)


def write(path, pictures):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "bgr0"
        for t, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = t, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture
def videos(tmp_path):
    """One pair of six frames."""
    folder = tmp_path / "videos"
    folder.mkdir()
    clean = scene(6)
    write(folder / "a.mkv", clean)
    write(folder / "a_with_subtitle.mkv", lettered(clean))
    return folder


def test_twins_are_the_same_frames_of_both_files(videos):
    (video,) = paired_videos.paired_videos(videos)
    assert video.frames == 6
    clean = scene(6)
    found = list(paired_videos.twins(video, [2, 3, 5]))
    for (subtitled, beside), t in zip(found, (2, 3, 5), strict=True):
        np.testing.assert_array_equal(beside, clean[t])
        np.testing.assert_array_equal(subtitled, lettered(clean)[t])
    with pytest.raises(InputError, match="found fewer"):
        list(paired_videos.twins(video, [2, 6]))


def test_a_shard_holds_crops_with_text_and_labels_made_of_both_pictures_alone(videos, tmp_path):
    (video,) = paired_videos.paired_videos(videos)
    path = tmp_path / "shard-000.npy"
    assert paired_videos._shard((0, video, path, 5)) == 6
    crops = np.load(path)
    assert crops.shape == (6, 352, 640, 7)
    clean = scene(6)
    for t in (0, 5):
        crop, before, after = crops[t], clean[t], lettered(clean)[t]
        whole = [paired_videos.covering(p, 1280, 720) for p in (after, before)]
        label = paper_label(*whole)
        assert crop[..., 6].any()
        assert _within(np.concatenate([*whole, label[..., None]], 2), crop)
    again = tmp_path / "again.npy"
    paired_videos._shard((0, video, again, 5))
    np.testing.assert_array_equal(np.load(again), crops)


def test_pictures_without_text_are_left_out(tmp_path):
    write(tmp_path / "b.mkv", scene(3))
    write(tmp_path / "b_with_subtitle.mkv", scene(3))
    (video,) = paired_videos.paired_videos(tmp_path)
    assert paired_videos._shard((0, video, tmp_path / "shard-000.npy", 0)) == 0
    assert np.load(tmp_path / "shard-000.npy").shape == (0, 352, 640, 7)


@pytest.mark.parametrize("upright", [False, True])
def test_covering_fills_the_size_and_keeps_the_middle(upright):
    picture = scene(1, 160, 90)[0]
    picture = picture.transpose(1, 0, 2) if upright else picture
    for width, height in ((1280, 720), (720, 1280), (97, 31)):
        found = paired_videos.covering(np.ascontiguousarray(picture), width, height)
        assert found.shape == (height, width, 3)
    same = paired_videos.covering(picture, picture.shape[1], picture.shape[0])
    np.testing.assert_array_equal(same, picture)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), (1280, 720)),
        ((3840, 2160), (1280, 720)),
        ((1080, 1920), (720, 1280)),
        ((854, 480), (848, 480)),
        ((640, 360), (640, 352)),
        ((1920, 800), (1472, 608)),
    ],
)
def test_windows_have_the_size_of_clears_own_rule(size, expected):
    """The examples of reference.md 6.2 in which its limit on the short side, which Stage II lacks, says nothing."""
    assert encoding_size(*size) == expected


def test_latents_are_the_vaes_and_maps_the_priors_whatever_the_clean_twin_is(videos, tmp_path):
    """With another clean twin control and maps stay bit for bit: what hides behind the text, and where, is unseen."""
    config = EncodingConfig(base=base_folder(tmp_path / "base"), frames=5)
    other = tmp_path / "other"
    other.mkdir()
    write(other / "a.mkv", scene(6, seed=30))
    write(other / "a_with_subtitle.mkv", lettered(scene(6)))
    arrays = []
    for folder in (videos, other):
        (video,) = paired_videos.paired_videos(folder)
        target = tmp_path / f"data-{folder.name}"
        target.mkdir()
        assert encoded_videos._shard((0, _Job(video, config), target / "control-000.npy", 3)) == 1
        arrays.append({name: np.load(target / f"{name}-000.npy") for name in ("clean", "control", "maps")})
    first, second = arrays
    assert first["clean"].shape == first["control"].shape == (1, 16, 2, 14, 22)
    assert first["maps"].shape == (1, 2, 7, 11)
    np.testing.assert_array_equal(first["control"], second["control"])
    np.testing.assert_array_equal(first["maps"], second["maps"])
    assert not np.array_equal(first["clean"], second["clean"])
    assert first["maps"][0, :, 5:6].max() > 127
    start = int(np.random.default_rng([3, 0]).integers(2))
    frames = scene(6)[start : start + 5]
    vae = load_vae(config.base / "vae.safetensors", VAE)
    given = torch.from_numpy(frames.astype(np.float32) / 127.5 - 1).permute(3, 0, 1, 2)[None]
    with torch.no_grad():
        expected = vae.encode(given)[0].numpy()
    # float16 keeps 11 bits; whole run and single latents differ by rounding of float32.
    np.testing.assert_allclose(first["clean"][0], expected, rtol=2**-10, atol=1e-3)


def test_a_prior_at_the_papers_size_finds_in_its_own_size(tmp_path):
    """The file that Stage I leaves, against the network that it was left by."""
    torch.manual_seed(0)
    net = ResNetPrior().eval()
    state = {n: t for n, t in net.state_dict().items() if t.is_floating_point()}
    save_file(state, tmp_path / "prior.safetensors")
    picture = scene(1, 96, 64)[0]
    with torch.no_grad():
        logits, _ = net(torch.from_numpy(picture.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None])
    found = finder(tmp_path / "prior.safetensors", "cpu")(picture)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, 255 * torch.sigmoid(logits[0, 0]).numpy(), atol=0.51)
    del state["head.9.bias"]
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(WeightsError, match=r"found 1 missing \(head\.9\.bias\)"):
        finder(tmp_path / "less.safetensors", "cpu")


def test_a_token_gets_the_strongest_of_all_that_it_covers():
    maps = np.zeros((5, 35, 55), np.uint8)
    maps[0, 0, 0], maps[2, 34, 54], maps[4, 17, 20] = 10, 200, 90
    found = on_tokens(maps, (112, 176), VAE)
    assert found.shape == (2, 7, 11)
    expected = np.zeros((2, 7, 11), np.uint8)
    expected[0, 0, 0], expected[1, 6, 10], expected[1, 3, 4] = 10, 200, 90
    np.testing.assert_array_equal(found, expected)


def test_six_videos_are_windows_to_train_on(videos, tmp_path, monkeypatch):
    """Through the command, with a shard for validation; the shards are written here instead of by two processes."""
    for name in "bcdef":
        for suffix in ("", "_with_subtitle"):
            (videos / f"{name}{suffix}.mkv").write_bytes((videos / f"a{suffix}.mkv").read_bytes())

    def here(what, shard, stretches, folder, seed):
        folder.mkdir(parents=True)
        return sum(shard((n, s, folder / f"{what}-{n:03d}.npy", seed)) for n, s in enumerate(stretches))

    monkeypatch.setattr(encoded_videos, "write_shards", here)
    base = base_folder(tmp_path / "base")
    options = ["--base", base, "--videos", videos, "--data", tmp_path / "data", "--frames", "1", "--draft"]
    monkeypatch.setattr("sys.argv", ["training.encoded_videos", *map(str, options)])
    encoded_videos.main()
    windows = WholeWindows(tmp_path / "data")
    clean, control, maps = windows.batch(np.random.default_rng(0), 2)
    assert clean.shape == control.shape == (2, 16, 1, 14, 22)
    assert maps.shape == (2, 1, 7, 11)
    assert windows.validation().clean.shape == (1, 16, 1, 14, 22)
    monkeypatch.setattr("sys.argv", ["training.encoded_videos", *map(str, options[:6]), "--frames", "13"])
    with pytest.raises(SystemExit, match=r"^training: expected videos of 13 frames or more in .*; give --frames$"):
        encoded_videos.main()
    with pytest.raises(ConfigError, match="expected 4 k \\+ 1 frames to a window, got 6; 81 is CLEAR's"):
        encoded_videos.synthesise(videos, tmp_path / "data", EncodingConfig(base=base, frames=6), 0)


@pytest.mark.parametrize("fault", ["none", "half", "length", "broken"])
def test_videos_that_are_no_pairs_are_a_sentence(videos, fault):
    said = {
        "none": "expected X.mp4 and X_with_subtitle.mp4 in .*, found no such pair; check the path",
        "half": "expected a.mkv beside .*, found none; add the clean twin",
        "length": "expected twins of one length, found 6 frames in .* and 4 in .*; cut them alike",
        "broken": "a.mkv: expected a video .*; take it out of the folder",
    }[fault]
    if fault == "none":
        (videos / "a_with_subtitle.mkv").unlink()
    elif fault == "half":
        (videos / "a.mkv").unlink()
    elif fault == "length":
        write(videos / "a.mkv", scene(4))
    else:
        (videos / "a.mkv").write_bytes(b"no video")
    with pytest.raises(InputError, match=said) as caught:
        paired_videos.paired_videos(videos)
    assert len(str(caught.value).splitlines()) == 1


def _within(whole, crop):
    """Whether a crop lies somewhere in a picture."""
    rows, columns = crop.shape[:2]
    for y in range(whole.shape[0] - rows + 1):
        for x in np.flatnonzero((whole[y, : whole.shape[1] - columns + 1] == crop[0, 0]).all(-1)):
            if np.array_equal(whole[y : y + rows, x : x + columns], crop):
                return True
    return False
