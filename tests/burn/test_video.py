"""`burn` on real files: only what the alpha covers changes, in every pixel format and orientation."""

from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import av
import numpy as np
import pytest

from clear_rt.burn.config import STYLES, BurnConfig
from clear_rt.burn.layers import make_layer
from clear_rt.burn.lines import Caption
from clear_rt.burn.recipe import NegativeName
from clear_rt.burn.render import Overlay
from clear_rt.burn.video import burn
from clear_rt.config import WriteConfig
from clear_rt.errors import ConfigError, InputError, OutputError
from clear_rt.frames.frame import Frame
from clear_rt.frames.info import Colour
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.orientation import Orientation
from clear_rt.frames.probe import probe
from clear_rt.frames.read import read
from clear_rt.frames.scale import Scaler

LOSSLESS = WriteConfig(lossless=True)
FORMATS = [
    "yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv444p12le", "yuv420p9le",
    "yuvj420p", "nv12", "gray", "gray10le", "gbrp", "gbrp10le", "rgb24", "yuva420p", "yuv411p",
]  # fmt: skip
MATRICES = {
    "90": (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    "180": (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
    "270": (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
}
ALWAYS = (Caption(0, 10**9, ("Hello", "World")),)


def planes_of(path):
    return [[plane.samples >> plane.shift for plane in frame.planes] for frame in read(path)]


def alphas_of(path):
    return [frame.planes[0].samples.copy() for frame in read(path)]


def block_any(mask, plane, shape, info):
    """Which samples of a plane meet a masked pixel, by walking over every masked pixel in stored orientation."""
    stored = to_stored(mask, info.orientation)
    step_x, step_y = (
        (plane.step_y_px, plane.step_x_px) if info.orientation.transpose else (plane.step_x_px, plane.step_y_px)
    )
    met = np.zeros(shape[::-1] if info.orientation.transpose else shape, bool)
    for row, column in np.argwhere(stored):
        met[row // step_y, column // step_x] = True
    return info.orientation.upright(met)


def to_stored(upright, orientation):
    flipped = upright[:: -1 if orientation.flip_y else 1, :: -1 if orientation.flip_x else 1]
    return np.swapaxes(flipped, 0, 1) if orientation.transpose else flipped


def check_only_covered_samples_changed(clean, burned, mask):
    info = probe(clean)
    before, after, alphas = list(read(clean)), planes_of(burned), alphas_of(mask)
    assert len(before) == len(after) == len(alphas)
    for frame, new, alpha in zip(before, after, alphas, strict=True):
        assert alpha.shape == (info.height_px, info.width_px)
        for plane, samples in zip(frame.planes, new, strict=True):
            old = plane.samples >> plane.shift
            covered = block_any(alpha > 0, plane, old.shape, info) & (plane.kind != "alpha")
            np.testing.assert_array_equal(samples[~covered], old[~covered])
            assert not covered.any() or (samples[covered] != old[covered]).mean() > 0.5


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_samples_without_alpha_keep_every_bit(make_video, tmp_path, pixel_format):
    clean = make_video(pixel_format, 95 if pixel_format not in ("nv12", "yuvj420p") else 96, 64, frames=3)
    target, mask = tmp_path / "out.mkv", tmp_path / "mask.mkv"
    report = burn(
        clean, target, BurnConfig(style="shadow", size_share=0.2), captions=ALWAYS, mask=mask, write_config=LOSSLESS
    )
    assert (report.frames, report.frames_with_text, report.captions, report.missing_characters) == (3, 2, 1, "")
    check_only_covered_samples_changed(clean, target, mask)


@pytest.mark.parametrize("turn", list(MATRICES))
@pytest.mark.parametrize("size", [(94, 62), (95, 63)])
def test_rotated_video_keeps_every_other_bit(make_video, tmp_path, turn, size):
    clean = make_video("yuv420p" if size == (94, 62) else "yuv444p", *size, frames=2, matrix=MATRICES[turn])
    target, mask = tmp_path / "out.mov", tmp_path / "mask.mkv"
    burn(clean, target, BurnConfig(style="outline", size_share=0.1), captions=ALWAYS, mask=mask, write_config=LOSSLESS)
    assert probe(target).rotation_degrees == probe(clean).rotation_degrees != 0
    check_only_covered_samples_changed(clean, target, mask)
    assert alphas_of(mask)[0][: probe(clean).height_px // 3].max() == 0


def reference_blend(frame, info, overlay, colour_values):
    """The same blend in float64, pixel by pixel, in stored orientation."""
    shape = info.height_px, info.width_px
    alpha, values = np.zeros(shape), np.zeros((*shape, 3))
    height, width = overlay.rgba.shape[:2]
    window = slice(overlay.y_px, overlay.y_px + height), slice(overlay.x_px, overlay.x_px + width)
    alpha[window] = overlay.rgba[..., 3] / 255
    values[window] = colour_values
    alpha, values = to_stored(alpha, info.orientation), to_stored(values, info.orientation)
    wanted = []
    for i, plane in enumerate(frame.planes):
        old = to_stored(plane.samples, info.orientation).astype(float)
        x, y = (plane.step_y_px, plane.step_x_px) if info.orientation.transpose else (plane.step_x_px, plane.step_y_px)
        new = old.copy()
        for row, column in np.ndindex(old.shape):
            block = slice(row * y, row * y + y), slice(column * x, column * x + x)
            new[row, column] += np.mean(alpha[block] * values[..., i][block]) - old[row, column] * np.mean(alpha[block])
        wanted.append(info.orientation.upright(new))
    return wanted


@pytest.mark.parametrize("turn", ["none", *MATRICES])
@pytest.mark.parametrize(("x_px", "y_px"), [(0, 0), (3, 5), (12, 13)])
def test_blend_equals_the_formula_also_at_odd_edges(make_video, turn, x_px, y_px):
    clean = make_video("yuv420p", 32, 32, frames=1, matrix=MATRICES.get(turn))
    info = probe(clean)
    frame = next(read(info)).edited()
    rng = np.random.default_rng(1)
    rgba = rng.integers(0, 256, (18, 19, 4), np.uint8)
    overlay = Overlay(rgba, x_px, y_px)
    red, green, blue = (rgba[..., i] / 255 for i in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    values = [16 + 219 * luma, 128 + 224 * (blue - luma) / 1.772, 128 + 224 * (red - luma) / 1.402]
    wanted = reference_blend(frame, info, overlay, np.stack(values, -1))
    make_layer(overlay, 1.0, info, frame.planes).blend(frame.planes)
    for plane, expected in zip(frame.planes, wanted, strict=True):
        assert np.abs(plane.samples - expected).max() < 0.501


@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
def test_odd_sizes_average_over_the_stored_blocks(make_video, flips):
    info = replace(probe(make_video("yuv420p", 33, 17, frames=1)), orientation=Orientation(False, *flips))
    frame = next(read(info)).edited()
    rgba = np.random.default_rng(2).integers(0, 256, (17, 33, 4), np.uint8)
    rgba[..., :3] = 255
    overlay = Overlay(rgba, 0, 0)
    wanted = reference_blend(frame, info, overlay, np.array([235.0, 128.0, 128.0]))
    make_layer(overlay, 1.0, info, frame.planes).blend(frame.planes)
    for plane, expected in zip(frame.planes, wanted, strict=True):
        assert np.abs(plane.samples - expected).max() < 0.501


TAGGED = [({}, name) for name in FORMATS] + [
    (tags, name)
    for tags in ({"colorspace": 1, "color_range": 1}, {"colorspace": 9, "color_range": 2})
    for name in FORMATS
    if not name.startswith(("gbr", "rgb", "yuvj"))
]


@pytest.mark.parametrize(("tags", "pixel_format"), TAGGED)
def test_colours_come_back_through_the_reader(make_video, pixel_format, tags):
    info = probe(make_video(pixel_format, 64, 64, frames=1, **tags))
    frame = next(read(info)).edited()
    colour = (250, 120, 30)
    rgba = np.full((64, 64, 4), 255, np.uint8)
    rgba[..., :3] = colour
    make_layer(Overlay(rgba, 0, 0), 1.0, info, frame.planes).blend(frame.planes)
    seen = frame.rgb(64, 64)[32, 32].astype(int)
    if pixel_format.startswith("gray"):
        colour = [seen[0]] * 3
        assert abs(seen[0] - 148) < 12
    assert np.abs(seen - colour).max() <= 3


def test_high_bits_of_p010_are_drawn_and_low_ones_stay_zero():
    picture = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 90, np.uint8), "rgb24").reformat(format="p010le")
    layout = pixel_layout("p010le")
    frame = Frame(picture, 0, 0, layout, Orientation(), Scaler(), writable=True)
    before = [plane.samples.copy() for plane in frame.planes]
    rgba = np.zeros((6, 4, 4), np.uint8)
    rgba[1:5] = 255
    info = SimpleNamespace(width_px=16, height_px=16, stored_height_px=16, orientation=Orientation())
    info.colour, info.pixel_format = Colour(1, 2, 2, 6), "p010le"
    make_layer(Overlay(rgba, 4, 4), 1.0, info, frame.planes).blend(frame.planes)
    luma, u, _ = (plane.samples for plane in frame.planes)
    assert (luma[5:9, 4:8] == 940 << 6).all()
    assert u[3, 2] == 512 << 6
    for plane, old in zip(frame.planes, before, strict=True):
        assert not (plane.samples & 63).any()
        changed = plane.samples != old
        changed[4 // plane.step_y_px : 10 // plane.step_y_px, 4 // plane.step_x_px : 8 // plane.step_x_px] = False
        assert not changed.any()


def test_fades_rise_and_fall(make_video, tmp_path):
    clean = make_video(frames=20, rate=20)
    captions = (Caption(100_000, 900_000, ("Fade",)),)
    burn(
        clean,
        tmp_path / "o.mkv",
        BurnConfig(style="shadow", size_share=0.2),
        captions=captions,
        mask=tmp_path / "m.mkv",
    )
    peaks = [int(alpha.max()) for alpha in alphas_of(tmp_path / "m.mkv")]
    assert peaks[:3] == [0, 0, 0]
    assert peaks[3] < peaks[4] < peaks[5] < peaks[6] == 255
    assert peaks[14] == 255 > peaks[15] > peaks[16] > peaks[17]
    assert peaks[18:] == [0, 0]


def test_captions_show_in_their_time_only_also_when_the_clip_starts_late(make_video, tmp_path):
    clean = make_video(frames=10, rate=10, first=37)
    subtitles = tmp_path / "s.srt"
    subtitles.write_text("1\n00:00:00,200 --> 00:00:00,500\nHi\n\n2\n00:00:00,800 --> 00:00:10,000\nHo\n")
    config = BurnConfig(style="outline", subtitles=subtitles, size_share=0.2)
    report = burn(clean, tmp_path / "o.mkv", config, mask=tmp_path / "m.mkv")
    shown = [bool(alpha.any()) for alpha in alphas_of(tmp_path / "m.mkv")]
    assert shown == [False, False, True, True, True, False, False, False, True, True]
    assert (report.frames_with_text, report.captions) == (5, 2)
    times = [[frame.time_us for frame in read(path)] for path in (clean, tmp_path / "o.mkv", tmp_path / "m.mkv")]
    assert times[0] == times[1] == times[2]


def rows_of(make_video, tmp_path, lines, top=False, **config):
    clean = make_video(frames=1, width_px=160, height_px=120)
    config = BurnConfig(**{"style": "outline", "size_share": 0.1} | config)
    burn(clean, tmp_path / "o.mkv", config, captions=[Caption(0, 1, lines, None, top)], mask=tmp_path / "m.mkv")
    return np.flatnonzero(alphas_of(tmp_path / "m.mkv")[0].any(axis=1))


def test_lines_and_position(make_video, tmp_path):
    one, two = rows_of(make_video, tmp_path, ("Hi",)), rows_of(make_video, tmp_path, ("Hi", "Ho"))
    assert len(two) > 1.5 * len(one)
    assert one.min() > 60
    assert rows_of(make_video, tmp_path, ("Hi",), position="top").max() < 60
    assert rows_of(make_video, tmp_path, ("Hi",), top=True).max() < 60
    assert rows_of(make_video, tmp_path, ("Hi",), top=True, position="bottom").min() > 60
    assert len(rows_of(make_video, tmp_path, ("Hi",), size_share=0.3)) > 2 * len(one)


def test_top_and_bottom_at_once_and_overlaps_are_stacked(make_video, tmp_path):
    clean = make_video(frames=1, width_px=160, height_px=120)
    captions = [Caption(0, 9, ("up",), None, True), Caption(0, 9, ("one",)), Caption(0, 9, ("two",))]
    report = burn(clean, tmp_path / "o.mkv", BurnConfig(style="box"), captions=captions, mask=tmp_path / "m.mkv")
    rows = alphas_of(tmp_path / "m.mkv")[0].any(axis=1)
    assert report.captions == 2
    assert rows[:60].any()
    assert rows[60:].sum() > 1.5 * rows[:60].sum()


@pytest.mark.parametrize("script", ["zh", "en", "ja", "ko", "ru", "ar", "mix", "zh-hant", "el", "vi", "hi"])
def test_one_seed_one_result(make_video, tmp_path, script):
    clean = make_video(frames=2, width_px=160, height_px=90)
    results = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        report = burn(clean, tmp_path / f"{name}.mkv", BurnConfig(script=script, seed=seed), write_config=LOSSLESS)
        assert report.missing_characters == ""
        results.append([samples.tobytes() for planes in planes_of(tmp_path / f"{name}.mkv") for samples in planes])
    assert results[0] == results[1] != results[2]


def test_karaoke_moves(make_video, tmp_path):
    clean = make_video("yuv444p", frames=8, width_px=160, height_px=90)
    config, captions = BurnConfig(style="karaoke", size_share=0.2), [Caption(0, 800_000, ("sing",))]
    burn(clean, tmp_path / "o.mkv", config, captions=captions, write_config=LOSSLESS)
    pictures = (frame.rgb(90, 160).astype(int) for frame in read(tmp_path / "o.mkv"))
    yellow = [int((np.abs(rgb - (255, 230, 80)).max(axis=2) < 8).sum()) for rgb in pictures]
    assert yellow[7] > yellow[3] > yellow[0]


@pytest.mark.parametrize("style", STYLES)
def test_tiny_pictures(make_video, tmp_path, style):
    clean = make_video(width_px=16, height_px=16, frames=4)
    every = {"negatives": get_args(NegativeName), "scene_texts": 1}
    for seed, others in ((0, {}), (1, every)):
        target = tmp_path / f"{seed}.mkv"
        config = BurnConfig(style=style, seed=seed, **others)
        report = burn(clean, target, config, mask=tmp_path / "m.mkv", write_config=LOSSLESS)
        assert report.frames == 4
        check = probe(target)
        assert (check.width_px, check.height_px) == (16, 16)


def test_characters_without_a_picture_are_reported(make_video, tmp_path):
    captions = [Caption(0, 10**6, ("a\ue123b\ue124",))]
    report = burn(make_video(), tmp_path / "o.mkv", captions=captions)
    assert report.missing_characters == "\ue123\ue124"


def test_captions_without_lines_or_duration_draw_nothing(make_video, tmp_path):
    captions = [Caption(0, 10**6, ()), Caption(0, 0, ("x",)), Caption(0, 10**6, ("", " "), "en")]
    report = burn(make_video(), tmp_path / "o.mkv", captions=captions)
    assert (report.frames_with_text, report.missing_characters) == (0, "")


def test_progress_counts_every_frame(make_video, tmp_path):
    seen = []
    burn(make_video(frames=6), tmp_path / "o.mkv", progress=seen.append)
    assert seen == [1, 2, 3, 4, 5, 6]


def test_refusals_leave_nothing_behind(make_video, tmp_path):
    clean = make_video(frames=2)
    target = tmp_path / "out.mkv"
    (tmp_path / "no.ttf").write_bytes(b"x")
    with pytest.raises(ConfigError, match="cannot be read as a font"):
        burn(clean, target, BurnConfig(font=tmp_path / "no.ttf"))
    with pytest.raises(ConfigError, match=r"absent\.otf"):
        burn(clean, target, BurnConfig(font=tmp_path / "absent.otf"))
    with pytest.raises(InputError, match="the subtitle file"):
        burn(clean, target, BurnConfig(subtitles=tmp_path / "absent.srt"))
    with pytest.raises(OutputError, match=r"\.mkv"):
        burn(clean, target, mask=tmp_path / "mask.mp4")
    with pytest.raises(OutputError, match="the output itself"):
        burn(clean, target, mask=target)
    with pytest.raises(OutputError, match="the output itself"):
        burn(clean, target, twin=target)
    with pytest.raises(OutputError, match="the mask itself"):
        burn(clean, target, mask=tmp_path / "mask.mkv", twin=tmp_path / "mask.mkv")
    with pytest.raises(OutputError, match="input itself"):
        burn(clean, clean)
    with pytest.raises(OutputError, match="input itself"):
        burn(clean, target, twin=clean)
    with pytest.raises(OutputError):
        burn(clean, target, mask=tmp_path / "absent" / "mask.mkv")
    with pytest.raises(OutputError):
        burn(clean, tmp_path / "out.xyz", mask=tmp_path / "mask.mkv")
    assert [path.name for path in tmp_path.iterdir()] == ["no.ttf"]


def test_an_interruption_leaves_nothing_behind(make_video, tmp_path):
    def interrupt(done):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        burn(make_video(frames=5), tmp_path / "o.mkv", mask=tmp_path / "m.mkv", progress=interrupt)
    assert list(tmp_path.iterdir()) == []
