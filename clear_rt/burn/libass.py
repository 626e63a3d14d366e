"""libass as a renderer, through an `ffmpeg` that has it: a rasteriser that shares no code with Pillow's."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clear_rt.burn.ass_document import PROBE_CS, ass_document
from clear_rt.burn.looks import Look
from clear_rt.burn.overlay import Overlay, faded, straight
from clear_rt.burn.typeset import Setting
from clear_rt.errors import ConfigError

_LONGEST_RUN_S = 60
_REMEDY = "apt-get install ffmpeg brings one, or leave out --renderer libass"


class Libass:
    """Draws a setting with the `ass` filter, alpha included.

    Raises:
        ConfigError: no ffmpeg with the filter ass is on PATH, or it failed.
    """

    def __init__(self) -> None:
        self._ffmpeg = ffmpeg_with_ass()

    def __call__(self, setting: Setting, look: Look, sung_share: float) -> Overlay:
        """As `clear_rt.burn.render.draw`. A line that libass sets wider than Pillow keeps half a letter's room."""
        margin_px = setting.size_px // 2
        document = ass_document(setting, look, sung_share, margin_px)
        width_px, height_px = setting.width_px + 2 * margin_px, setting.height_px + 2 * margin_px
        faces = {line.line.face.path for line in setting.lines}
        premultiplied = self._rendered(document, sorted(faces), width_px, height_px)
        overlay = Overlay(straight(premultiplied), setting.x_px - margin_px, setting.y_px - margin_px)
        return faded(overlay, look.style.opacity)

    def _rendered(self, document: str, fonts: list[Path], width_px: int, height_px: int) -> npt.NDArray[np.float32]:
        """Premultiplied RGBA, float32 [height_px, width_px, 4] in 0..255, from one picture on black and one on white.

        The filter's own alpha (its option of that name) is squared in FFmpeg 5.1: 124 of 255 for a box of 0.7.
        """
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "fonts").mkdir()
            (folder / "lines.ass").write_text(document, encoding="utf-8")
            for number, font in enumerate(fonts):
                (folder / "fonts" / f"{number}{font.suffix}").symlink_to(font.resolve())
            grounds = (
                f"color=c={ground}:s={width_px}x{height_px}:r=1:d=1,format=rgb24,"
                f"setpts=PTS+{PROBE_CS // 100}/TB,ass=f=lines.ass:fontsdir=fonts[{ground}]"
                for ground in ("black", "white")
            )
            graph = ";".join((*grounds, "[black][white]vstack"))
            command = [
                self._ffmpeg, "-nostdin", "-v", "error", "-f", "lavfi", "-i", graph,
                "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-",
            ]  # fmt: skip
            done = _run(command, folder)
        pixels = np.frombuffer(done, np.uint8)
        wanted = 2 * width_px * height_px * 3
        if pixels.size != wanted:
            raise ConfigError(f"{self._ffmpeg} drew {pixels.size} bytes instead of {wanted}; {_REMEDY}")
        black, white = pixels.reshape(2, height_px, width_px, 3).astype(np.float32)
        alpha = 255 - (white - black).mean(axis=2, keepdims=True)
        premultiplied: npt.NDArray[np.float32] = np.concatenate([black, np.clip(alpha, 0, 255)], axis=2)
        return premultiplied


def _run(command: list[str], folder: Path) -> bytes:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=_LONGEST_RUN_S).stdout
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigError(f"{command[0]} failed ({said[-1] if said else error.returncode}); {_REMEDY}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{command[0]} could not be run ({error}); {_REMEDY}") from error


def ffmpeg_with_ass() -> str:
    """The path of an ffmpeg on PATH that has the filter ass. Raises ConfigError where there is none."""
    found = shutil.which("ffmpeg")
    if found is None:
        raise ConfigError(f"libass is used through ffmpeg, of which none is on PATH; {_REMEDY}")
    if not _has_ass(found):
        raise ConfigError(f"{found} was built without libass (it has no filter named ass); {_REMEDY}")
    return found


@cache
def _has_ass(ffmpeg: str) -> bool:
    listed = _run([ffmpeg, "-nostdin", "-v", "error", "-filters"], Path.cwd()).decode(errors="replace")
    return any(line.split()[1:2] == ["ass"] for line in listed.splitlines())
