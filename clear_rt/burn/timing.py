"""How long captions stay and what lies between them, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TimingName = Literal["film", "gaps", "back-to-back", "short", "long", "always"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Made-up captions last `shown_us` (from, to); before `gap_share` of them nothing is shown for `gap_us`."""

    shown_us: tuple[int, int] = (1_000_000, 4_000_000)
    gap_share: float = 0.25
    gap_us: tuple[int, int] = (300_000, 1_500_000)


TIMINGS: dict[str, Timing] = {
    "film": Timing(),
    "gaps": Timing(shown_us=(800_000, 3_000_000), gap_share=1.0, gap_us=(800_000, 5_000_000)),
    "back-to-back": Timing(shown_us=(700_000, 2_500_000), gap_share=0.0),
    "short": Timing(shown_us=(120_000, 700_000), gap_share=0.5, gap_us=(80_000, 600_000)),
    "long": Timing(shown_us=(6_000_000, 15_000_000)),
    # 31 years: longer than any video.
    "always": Timing(shown_us=(10**15, 10**15), gap_share=0.0),
}
