"""Whether a run fits into the memory that it may have, and what to change where it does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from clear_rt.crops import place
from clear_rt.errors import ConfigError, EngineError
from clear_rt.memory_plan.plan import MemoryPlan, PlanPrecision, Subject, memory_plan
from clear_rt.memory_plan.subject import precision_of, subject_of
from clear_rt.runtime.device import first_gpu
from clear_rt.runtime.engine import chosen_engine
from clear_rt.schedule import frames_of
from clear_rt.shapes import Box, Size

if TYPE_CHECKING:
    from clear_rt.bundle import Bundle
    from clear_rt.config import DenoiseConfig, EngineName, KernelsName
    from clear_rt.generator import GeneratorSpec
    from clear_rt.runtime.device import Gpu

_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?) ?([kmgt])(i?)b", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
# 33 frames, what the live profile has.
_SHORT_LATENTS = 9


class Limit(NamedTuple):
    """Bytes that a run may take, and what sets them."""

    bytes: int
    name: str


@dataclass(frozen=True, slots=True)
class Room:
    """What a bundle's networks may take. `option` is what chooses the region on the command line."""

    subject: Subject
    precision: PlanPrecision
    spec: GeneratorSpec
    limit: Limit
    option: str = "--region"

    def admit(self, picture: Size, boxes: Iterable[Box]) -> None:
        """Raises EngineError where a region of a picture does not fit; without any, where no region ever would."""
        spec, least = self.spec, Size(self.spec.multiple_px, self.spec.multiple_px)
        sizes = [place(box, picture, spec.multiple_px, spec.max_pixels, spec.profiles).profile for box in boxes]
        self.require(max(sizes, default=min(spec.profiles, key=_pixels, default=least), key=_pixels))

    def require(self, size: Size, window_latents: int | None = None) -> None:
        """Raises EngineError where regions of a size that the networks see do not fit. Windows are the bundle's."""
        subject = self.subject
        if window_latents is not None:
            subject = replace(subject, window_latents=window_latents)
        plan = memory_plan(subject, size, self.precision)
        if plan.total > self.limit.bytes:
            raise EngineError(self._sentence(plan, subject))

    def _sentence(self, plan: MemoryPlan, subject: Subject) -> str:
        frames = frames_of(subject.window_latents, self.spec.latent_frames)
        remedies = list(self._remedies(plan, subject)) or ["a GPU with more memory"]
        return (
            f"{self.limit.name} does not hold a region of {_named(plan.size)} in windows of {frames} frames: about "
            f"{gigabytes(plan.total)} are needed in {plan.precision}; use {' or '.join(remedies)}"
        )

    def _remedies(self, plan: MemoryPlan, subject: Subject) -> Iterator[str]:
        """Each of which would be enough by itself."""

        def fits(size: Size, subject: Subject = subject, precision: PlanPrecision = self.precision) -> bool:
            return memory_plan(subject, size, precision).total <= self.limit.bytes

        smaller = next(filter(fits, self._smaller(plan.size)), None)
        if smaller is not None:
            yield f"a smaller {self.option} ({_named(smaller)} fits)"
        short = replace(subject, window_latents=_SHORT_LATENTS)
        if subject.window_latents > _SHORT_LATENTS and fits(plan.size, short):
            yield f"a bundle with windows of {frames_of(_SHORT_LATENTS, self.spec.latent_frames)} frames"
        if self.precision != "fp8" and fits(plan.size, precision="fp8"):
            yield "a bundle in fp8"

    def _smaller(self, size: Size) -> Iterator[Size]:
        """Sizes that the bundle takes, largest first: of its profiles, or bands as wide."""
        if self.spec.profiles:
            fewer = (each for each in self.spec.profiles if _pixels(each) < _pixels(size))
            yield from sorted(fewer, key=_pixels, reverse=True)
            return
        step = self.spec.multiple_px
        for height in range(size.height_px - step, 0, -step):
            yield Size(size.width_px, height)


def room_for(
    bundle: Bundle,
    engine: EngineName,
    kernels: KernelsName,
    denoise: DenoiseConfig,
    max_memory: str | None,
    option: str = "--region",
) -> Room | None:
    """The room of a run that generates; None where nothing is planned: no GPU would be used, or opening is refused.

    Raises ConfigError where `max_memory` is no size, or does not apply to the run.
    """
    limit_bytes = None if max_memory is None else read_bytes(max_memory)
    spec, name = bundle.generator, chosen_engine(engine, bundle, generates=True)
    if spec is None or name not in bundle.engines:
        return None
    gpu, obstacle = first_gpu(), None
    if name != "cuda":
        obstacle = f"is for --engine cuda, and {name} would run"
    elif gpu is None:
        obstacle = "is about a GPU's memory, and there is no GPU here"
    elif kernels == "torch" or (kernels == "auto" and find_spec("triton") is None):
        obstacle = "is planned for --kernels triton, and torch would run"
    if gpu is None or obstacle is not None:
        if max_memory is not None:
            raise ConfigError(f"--max-memory {max_memory} {obstacle}; leave it out")
        return None
    try:
        subject = subject_of(spec, denoise)
    except ValueError as error:
        if max_memory is None:
            return None
        raise ConfigError(
            f"--max-memory {max_memory} cannot be compared with what bundle {bundle.name} needs: {error}; leave it out"
        ) from None
    limit = limit_of(limit_bytes, max_memory, gpu)
    assert limit is not None
    return Room(subject, precision_of(spec), spec, limit, option)


def limit_of(limit_bytes: int | None, max_memory: str | None, gpu: Gpu | None) -> Limit | None:
    """The smaller of what was asked for and what the GPU has; None without either."""
    if limit_bytes is not None and (gpu is None or limit_bytes <= gpu.memory_bytes):
        return Limit(limit_bytes, f"--max-memory {max_memory}")
    if gpu is None:
        return None
    return Limit(gpu.memory_bytes, f"this GPU ({gpu.name}, {gigabytes(gpu.memory_bytes)})")


def read_bytes(text: str) -> int:
    """8GB is 8 x 10**9 bytes, 8GiB 8 x 2**30. Raises ConfigError for what is no size."""
    found = _SIZE.fullmatch(text.strip())
    size = (
        Fraction(0) if found is None else Fraction(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()]
    )
    if size < 1:
        raise ConfigError(f"--max-memory must be a size such as 8GB or 40GiB, got {text!r}")
    return int(size)


def gigabytes(count: int) -> str:
    """In powers of ten, as limits are set."""
    return f"{count / 1e9:.1f} GB"


def _pixels(size: Size) -> int:
    return size.width_px * size.height_px


def _named(size: Size) -> str:
    return f"{size.width_px}x{size.height_px}"
