"""How far a whole picture moved since the one before: the peak of their phase correlation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clear_rt.burn.overlay import Glimpse

Float = npt.NDArray[np.float64]
_LUMA = np.array([0.299, 0.587, 0.114])
_ROWS, _COLUMNS = 96, 160
# A peak weaker than this belongs to noise, a cut or a scene without one motion: what hangs in it stays where it was.
_LEAST_PEAK = 0.06
_FURTHEST_SHARE = 0.2


class PictureMotion:
    """Asked once for every frame, in order, of a picture of width_px x height_px."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self._scale = np.array([width_px / _COLUMNS, height_px / _ROWS])
        self._window = np.outer(np.hanning(_ROWS), np.hanning(_COLUMNS))
        self._before: npt.NDArray[np.complex128] | None = None

    def step(self, glimpse: Glimpse) -> tuple[float, float]:
        """Pixels right and down since the last call; 0 at the first call and where no one motion is found."""
        grey = glimpse(_ROWS, _COLUMNS) @ _LUMA
        now = np.fft.fft2((grey - grey.mean()) * self._window)
        before, self._before = self._before, now
        if before is None:
            return 0.0, 0.0
        cross = now * np.conj(before)
        peaks = np.fft.ifft2(cross / np.maximum(np.abs(cross), 1e-9)).real
        row, column = np.unravel_index(int(peaks.argmax()), peaks.shape)
        if peaks[row, column] < _LEAST_PEAK:
            return 0.0, 0.0
        shift = np.array([_sub_pixel(peaks[row], int(column)), _sub_pixel(peaks[:, column], int(row))])
        if (np.abs(shift) > _FURTHEST_SHARE * np.array([_COLUMNS, _ROWS])).any():
            return 0.0, 0.0
        x, y = shift * self._scale
        return float(x), float(y)


def _sub_pixel(line: Float, peak: int) -> float:
    """The top of a parabola through the peak and its two neighbours, as a signed shift of a periodic signal."""
    before, at, after = line[peak - 1], line[peak], line[(peak + 1) % len(line)]
    bend = before - 2 * at + after
    exact = peak + (0.5 * (before - after) / bend if bend < 0 else 0.0)
    return float(exact - len(line) if exact > len(line) / 2 else exact)
