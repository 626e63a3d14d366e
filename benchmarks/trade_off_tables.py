"""The tables of trade-offs, means over clips, as docs/TRADE_OFFS.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.environment import environment
from benchmarks.trade_off_clips import WIDTH_PX
from benchmarks.trade_off_engines import PRECISIONS

if TYPE_CHECKING:
    from benchmarks.trade_offs import Choice, Outcome

_COLUMNS = (
    ("fps", lambda o: o.fps, ".1f"),
    ("processor ms/frame", lambda o: o.processor_ms, ".0f"),
    ("PSNR frame dB", lambda o: o.frame_db, ".1f"),
    ("PSNR inside dB", lambda o: o.inside_db, ".1f"),
    ("SSIM", lambda o: o.ssim, ".4f"),
    ("to clean, frame dB", lambda o: o.clean_frame_db, ".2f"),
    ("inside dB", lambda o: o.clean_inside_db, ".2f"),
    ("flicker", lambda o: o.flicker, ".2f"),
)


def page(
    found: Sequence[Outcome],
    parts: Sequence[Outcome],
    narrow: Sequence[Outcome],
    reason: str | None,
    clips: Sequence[str],
    frames: int,
) -> str:
    """The whole document; `parts` are those of `ablated`, `reason` says why `narrow` is empty."""
    machine = environment()
    gpu = machine["gpus"][0]["name"] if machine["gpus"] else "no GPU"
    narrow_rows = [_row((each,), [o for o in narrow if o.choice.precision == each], reason) for each in PRECISIONS]
    return f"""# Trade-offs

Written by `python -m benchmarks.trade_offs --write`: {frames} frames of each of {len(clips)} clips,
{", ".join(clips)}, scaled to {WIDTH_PX} pixels across, outlined text burned in, cleaned by clear-tiny
with `--lossless`. Band: the rows of the text and the margin that `--region auto` leaves.

Machine: {machine["cores"]} cores ({machine["cpu"]}), {gpu}, commit {machine["commit"]}; load {machine["load_1min"]}.
Other work on the same cores makes frames per second lower bounds that differ by chance; compare processor time, which
is of all cores together.

PSNR and SSIM are to the result of five steps, policy `paper`, the whole frame; "equal" is the same to the bit. Inside
is inside the true mask. The last three columns say which result is better: they are beside the clean clip; flicker is
the warping error inside the mask as a multiple of the clean clip's. Means over the clips.

## Steps, coupling of windows, region

{_table(("region", "policy", "steps"), _grouped(found))}

clear-tiny was trained to be run in one step, the bundle's default; more steps do not make it better
(docs/CLEAR-TINY.md). So these rows say what a choice costs, and how far its result moves, not which number of steps
the real model wants.

## Parts of the design

One taken away at a time, in a band, with the fewest steps. `paste` puts the fill in as it is, `off` the whole region
with what the VAE makes of the picture around the text, and nothing is carried over from other frames then; attention is
plain where the occlusion head says the same of every key.

{_table(("without", "how"), _without(parts))}

## Precision

Five steps, policy `paper`, the whole frame, by the engine cuda; PSNR and SSIM are to bf16. FP8 attention rounds
queries, keys and values to E4M3 and attends in bf16: the figure is its quality, not its speed.

{_table(("precision",), narrow_rows)}
"""


def _grouped(found: Sequence[Outcome]) -> list[tuple[str, ...]]:
    choices: dict[Choice, list[Outcome]] = {}
    for outcome in found:
        choices.setdefault(outcome.choice, []).append(outcome)
    return [_row((c.region, c.policy, str(c.steps)), each, None) for c, each in sorted(choices.items(), key=_order)]


def _without(parts: Sequence[Outcome]) -> list[tuple[str, ...]]:
    choices: dict[Choice, list[Outcome]] = {}
    for outcome in parts:
        choices.setdefault(outcome.choice, []).append(outcome)
    return [_row(_named(choice), each, None) for choice, each in choices.items()]


def _named(choice: Choice) -> tuple[str, str]:
    if choice.fill == "membrane":
        return "the model", "`--fill membrane`"
    if choice.attention == "plain":
        return "weights of keys", "plain attention"
    if choice.propagate != "both":
        hidden = "what later frames show" if choice.propagate == "past" else "what other frames show"
        return hidden, f"`--propagate {choice.propagate}`"
    mode = f"`--composite {choice.composite}`"
    return ("nothing", mode) if choice.composite == "membrane" else ("the membrane", mode)


def _order(item: tuple[Choice, object]) -> tuple[str, str, int]:
    choice = item[0]
    return choice.region, choice.policy, -choice.steps


def _row(names: tuple[str, ...], outcomes: Sequence[Outcome], reason: str | None) -> tuple[str, ...]:
    if not outcomes:
        said = "not measured" if reason is None else f"not measured: {reason}"
        return (*names, said, *("" for _ in _COLUMNS[1:]))
    return (*names, *(_mean(value, outcomes, digits) for _, value, digits in _COLUMNS))


def _mean(value: Callable[[Outcome], float | None], outcomes: Sequence[Outcome], digits: str) -> str:
    """Of a column; decibels of equal results have no number, and count by what is left: "equal" where all are."""
    known = [number for outcome in outcomes if (number := value(outcome)) is not None and math.isfinite(number)]
    return format(fmean(known), digits) if known else "equal"


def _table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    header = (*names, *(title for title, _, _ in _COLUMNS))
    rules = (*("---" for _ in names), *("---:" for _ in _COLUMNS))
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rules, *rows))
