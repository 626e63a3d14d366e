"""Makes the two clips of this folder from cityCC0.mpg (CC0; README.md). `python -m samples.make`."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np

from clear_rt.burn.config import BurnConfig
from clear_rt.burn.video import burn
from clear_rt.config import WriteConfig
from training.materials import fetch_clips

HERE = Path(__file__).parent
# The original cuts hard at frame 116, so the excerpt does at its frame 50.
FIRST_FRAME, FRAMES, FPS = 66, 100, 25
# H.264 in 4:2:0 holds even sizes only; the original has 405 rows.
WIDTH_PX, HEIGHT_PX = 720, 404
CLEAN_CRF, SUBTITLED_CRF = "19", 19
TONE_HZ, TONE_PEAK, SAMPLES_PER_S = 220.0, 0.05, 48_000


def _pictures(original: Path) -> Iterator[av.VideoFrame]:
    """The excerpt's frames without the original's last row, numbered from 0."""
    with av.open(str(original)) as container:
        frames = islice(container.decode(video=0), FIRST_FRAME, FIRST_FRAME + FRAMES)
        for index, frame in enumerate(frames):
            yuv = [np.asarray(plane).reshape(-1, plane.line_size)[:, : plane.width] for plane in frame.planes]
            rows = [yuv[0][:HEIGHT_PX], yuv[1][: HEIGHT_PX // 2], yuv[2][: HEIGHT_PX // 2]]
            joined = np.concatenate([part.reshape(-1) for part in rows]).reshape(-1, WIDTH_PX)
            picture = av.VideoFrame.from_ndarray(joined, format="yuv420p")
            picture.pts, picture.time_base = index, Fraction(1, FPS)
            yield picture


def _tone() -> av.AudioFrame:
    """A quiet tone that swells and fades once a second, so that a lost or shifted audio track is heard."""
    time_s = np.arange(FRAMES * SAMPLES_PER_S // FPS) / SAMPLES_PER_S
    wave = TONE_PEAK * np.sin(2 * np.pi * TONE_HZ * time_s) * np.sin(np.pi * time_s) ** 2
    frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLES_PER_S, 0, Fraction(1, SAMPLES_PER_S)
    return frame


def make_clean(original: Path, target: Path) -> None:
    """The excerpt as H.264 beside the tone as AAC."""
    with av.open(str(target), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": CLEAN_CRF, "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLES_PER_S, layout="mono")
        for picture in _pictures(original):
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        container.mux(audio.encode(_tone()))
        container.mux(audio.encode(None))


def main() -> None:
    original = fetch_clips(("cityCC0.mpg",))["cityCC0.mpg"]
    clean = HERE / "city-clean.mp4"
    make_clean(original, clean)
    look = BurnConfig(subtitles=HERE / "city.srt", style="outline")
    burn(clean, HERE / "city-subtitled.mp4", look, write_config=WriteConfig(crf=SUBTITLED_CRF))


if __name__ == "__main__":
    main()
