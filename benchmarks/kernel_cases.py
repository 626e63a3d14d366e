"""What `bench_kernels` times: one op at one shape, the least work that is in it, and other ways to the same result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any, Literal, NamedTuple

from torch import Tensor

Call = Callable[..., Any]
Ceiling = Literal["copy", "bf16", "e4m3"]

# Inputs are rotated until together they are several times the L2 cache: of an H100 50 MB, of a B200 126 MB.
ROTATED_BYTES = 400_000_000
MOST_SETS = 64
# One rounding to nearest is off by 1 / sqrt(12) of the step in the square mean; of a value the step is 2**-7 at most in
# bf16, 2**-3 in E4M3.
BF16_TOLERANCE = 2.3e-3
E4M3_TOLERANCE = 3.7e-2
# As much as 32 roundings.
FP32_TOLERANCE = 32 * 2.0**-24


class Grid(NamedTuple):
    """Tokens of a window: frames of latents, rows and columns of patches."""

    frames: int
    rows: int
    columns: int

    @property
    def tokens(self) -> int:
        return prod(self)


class Size(NamedTuple):
    """Heads of a transformer and channels of a head."""

    heads: int
    head_width: int

    @property
    def width(self) -> int:
        return self.heads * self.head_width


WAN = Size(12, 128)
# 720p, 480p, and boxes of 1280x256 and 1280x192 pixels, all of 81 frames; that box of 33 frames.
FULL, SMALLER, WIDE_BOX, BOX, SHORT_BOX = (
    Grid(21, 45, 80),
    Grid(21, 30, 52),
    Grid(21, 16, 80),
    Grid(21, 12, 80),
    Grid(9, 12, 80),
)
# Width and height.
BOXES_PX = ((1280, 192), (1280, 720))
# For dry runs: no multiple of any block.
TINY = Size(2, 64)
TINY_GRID = Grid(3, 5, 9)
TINY_BOX_PX = (48, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Another way, called with the arguments of the op. One that does not give the `same` result is only compared with.

    `compiled`: through torch.compile, which takes seconds.
    """

    name: str
    call: Call
    compiled: bool = False
    needs_gpu: bool = False
    same: bool = True


class Target(NamedTuple):
    """The op is to be `least` times as fast as the fastest of these rivals."""

    least: float
    rivals: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCase:
    """One op at one shape.

    `inputs` draws fresh arguments; `call` returns what the op makes of them or changes, `comparable` makes tensors of
    that. Those are to be within `tolerance` of what `exact` makes of the arguments in fp64; where arguments were
    quantised before, `unquantized` makes it of what they were, and that is what rivals are compared with.
    `bytes` and `flop` are the least that must be moved and done; vectors and tables of a few KB are not counted.
    `modules` are the files of kernels/ whose kernels run.
    """

    op: str
    shape: str
    modules: tuple[str, ...]
    inputs: Callable[[], Sequence[Any]]
    call: Call
    exact: Call
    comparable: Call = lambda found: found
    unquantized: Call | None = None
    tolerance: float = BF16_TOLERANCE
    bytes: int
    flop: int = 0
    ceiling: Ceiling = "copy"
    rivals: Sequence[Rival] = ()
    targets: Sequence[Target] = ()

    @property
    def name(self) -> str:
        return f"{self.op} {self.shape}"

    def sets(self) -> list[Sequence[Any]]:
        """Arguments for calls in turn: one set where arithmetic is the ceiling, which a cache does not lift."""
        count = min(MOST_SETS, ceil(ROTATED_BYTES / self.bytes)) if self.ceiling == "copy" else 1
        return [self.inputs() for _ in range(count)]


def torch_rivals(call: Call) -> tuple[Rival, Rival]:
    """The formula in torch, operation by operation and compiled."""
    return Rival(name="torch", call=call), Rival(name="torch.compile", call=call, compiled=True)


def relative_error(found: Any, exact: Any) -> float:  # noqa: ANN401 - a tensor, or a tuple or list of them
    """The largest ||found - exact|| / ||exact|| of its tensors; NaN where one holds NaN or has another shape."""
    if isinstance(exact, Tensor):
        found, exact = [found], [exact]
    errors = [_relative_error(*pair) for pair in zip(found, exact, strict=True)]
    return max(errors) if all(error == error for error in errors) else float("nan")


def _relative_error(found: Tensor, exact: Tensor) -> float:
    if found.shape != exact.shape:
        return float("nan")
    exact = exact.double()
    return float((found.double() - exact).norm() / exact.norm())
