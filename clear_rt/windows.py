"""Windows over the latents of a run: which there are, and how much each counts where they overlap.

Source: design section 5; the released rule and its ramps: reference.md 6.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clear_rt.config import Policy
from clear_rt.schedule import frames_of

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Windows that cover 0..total_latents, starts and ends both rising; ramps are `border_latents` long."""

    total_latents: int
    border_latents: int
    windows: tuple[range, ...]

    def next_start(self, i: int) -> int:
        """Where the window after window i starts: earlier latents are in no later window. The end for the last."""
        return self.windows[i + 1].start if i + 1 < len(self.windows) else self.total_latents


def plan_windows(
    total_latents: int, window_latents: int, overlap_latents: int, policy: Policy, *, latent_frames: int = 4
) -> WindowPlan:
    """Windows of a run. No latent is left out and no window is longer than `window_latents` (but for `reference`).

    `paper`, `stream`: equal windows `window_latents - overlap_latents` apart, the last one slid back to end with the
    run; a run shorter than a window is one short window. Without overlap there are no ramps, and only the slid-back
    window shares latents. `reference`: window and overlap in frames, `latent_frames` each,
    taken for latents, the last window cut short.
    Raises ValueError unless total_latents >= 1 and 0 <= overlap_latents < window_latents.
    """
    if total_latents < 1 or not 0 <= overlap_latents < window_latents:
        raise ValueError(
            f"expected at least one latent and 0 <= overlap < window, got {total_latents} latents, "
            f"overlap {overlap_latents} and window {window_latents}"
        )
    if policy == "reference":
        # 21 latents and 4 become 81 and 16: the released code never converts its frame numbers.
        return _released(total_latents, frames_of(window_latents, latent_frames), latent_frames * overlap_latents)
    if total_latents <= window_latents:
        return WindowPlan(total_latents, overlap_latents, (range(total_latents),))
    last = total_latents - window_latents
    starts = [*range(0, last, window_latents - overlap_latents), last]
    windows = tuple(range(start, start + window_latents) for start in starts)
    return WindowPlan(total_latents, overlap_latents, windows)


def ramp(plan: WindowPlan, i: int) -> Floats:
    """Weights float32 [latents of window i] in (0, 1]: 1 inside, (k + 0.5) / border towards its neighbours.

    Where both ramps meet (overlap longer than half a window) the falling one counts, as in the released code.
    """
    window, border = plan.windows[i], plan.border_latents
    weights = np.ones(len(window), np.float32)
    rising = np.array([(k + 0.5) / border for k in range(border)], np.float32)
    if window.start > 0:
        weights[:border] = rising
    if window.stop < plan.total_latents:
        weights[len(window) - border :] = rising[::-1]
    return weights


def shares(plan: WindowPlan) -> tuple[Floats, ...]:
    """The ramps of all windows, each divided by the sum of all ramps at its latents: together 1 everywhere."""
    ramps = [ramp(plan, i) for i in range(len(plan.windows))]
    sums = np.zeros(plan.total_latents, np.float32)
    for window, weights in zip(plan.windows, ramps, strict=True):
        sums[window.start : window.stop] += weights
    return tuple(w / sums[window.start : window.stop] for window, w in zip(plan.windows, ramps, strict=True))


def opens_closes(plan: WindowPlan, i: int) -> tuple[Flags, Flags]:
    """Which latents of window i no window before it reaches, and which none after it does."""
    latents = np.arange(plan.windows[i].start, plan.windows[i].stop)
    reached = plan.windows[i - 1].stop if i else 0
    return latents >= reached, latents < plan.next_start(i)


def fade_shares(plan: WindowPlan) -> tuple[tuple[Floats, Floats], ...]:
    """Of each window's latents that it has in common with those before it: its share, and theirs; together 1."""
    found, held = [], np.zeros(0, np.float32)
    for i, window in enumerate(plan.windows):
        weights = ramp(plan, i)
        total = held + weights[: len(held)]
        found.append((weights[: len(held)] / total, held / total))
        weights[: len(held)] = total
        held = weights[plan.next_start(i) - window.start :]
    return tuple(found)


def _released(total: int, window: int, border: int) -> WindowPlan:
    stride = window - border
    # A start whose predecessor already reaches the end is left out.
    starts = [start for start in range(0, total, stride) if start == 0 or start + border < total]
    return WindowPlan(total, border, tuple(range(start, min(start + window, total)) for start in starts))
