"""Cases of `bench_kernels`: pictures into the model and out of it, for boxes of the real model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.kernel_cases import BOXES_PX, FP32_TOLERANCE, TINY_BOX_PX, KernelCase, Rival, torch_rivals
from clear_rt.kernels.colour import input_matrix, output_matrix
from clear_rt.kernels.composite import composite, composite_ref
from clear_rt.kernels.pull_push import pull_push, pull_push_ref
from clear_rt.kernels.yuv_to_input import yuv_to_input, yuv_to_input_ref

# One sample of a thousand a level off, as rounding is where fractions are near one half; in the square mean samples are
# some 128.
SAMPLE_TOLERANCE = 2.5e-4


def picture_cases(device: torch.device, *, tiny: bool) -> Iterator[KernelCase]:
    """Every op at every size."""
    for width_px, height_px in (TINY_BOX_PX,) if tiny else BOXES_PX:
        box = f"{width_px}x{height_px}"
        yield _yuv_case(device, box, height_px, width_px)
        yield _fill_case(device, box, height_px, width_px)
        for mode in ("paste", "membrane"):
            yield _composite_case(device, box, height_px, width_px, mode)


def _yuv_case(device: torch.device, box: str, height: int, width: int) -> KernelCase:
    def inputs() -> Sequence[Any]:
        matrix = input_matrix(8, False, "bt709").to(device, torch.float32)
        return *_picture(device, height, width), matrix, 0, 0, height, width, torch.bfloat16

    def exact(luma: Tensor, cb: Tensor, cr: Tensor, matrix: Tensor, *rest: Any) -> Tensor:  # noqa: ANN401
        return yuv_to_input_ref(luma, cb, cr, matrix.double(), *rest[:-1])

    return KernelCase(
        op="yuv_to_input",
        shape=box,
        modules=("yuv_to_input",),
        inputs=inputs,
        call=yuv_to_input,
        exact=exact,
        bytes=int(height * width * (1.5 + 3 * 2)),
        rivals=torch_rivals(lambda *given: yuv_to_input_ref(*given[:-1]).to(given[-1])),
    )


def _fill_case(device: torch.device, box: str, height: int, width: int) -> KernelCase:
    """Many small launches, whose least work is to read the field and write it: the ceiling is far by nature."""

    def inputs() -> Sequence[Any]:
        field = _smooth(device, height, width) + 0.1 * torch.randn(height, width, device=device)
        return (torch.where(_smooth(device, height, width) > 0.5, torch.nan, field)[None],)

    return KernelCase(
        op="pull_push",
        shape=box,
        modules=("pull_push_level",),
        inputs=inputs,
        call=pull_push,
        exact=lambda field: pull_push_ref(field.double()),
        tolerance=FP32_TOLERANCE,
        bytes=height * width * (4 + 4),
        rivals=(Rival(name="torch", call=pull_push_ref),),
    )


def _composite_case(device: torch.device, box: str, height: int, width: int, mode: str) -> KernelCase:
    """Into all of a picture, with alphas that leave out no sample."""

    def inputs() -> Sequence[Any]:
        generated = 0.5 * torch.randn(3, height, width, device=device, dtype=torch.bfloat16)
        alpha = (128 + 100 * _smooth(device, height, width)).clamp(1, 255).to(torch.uint8)
        matrix = output_matrix(8, False, "bt709").to(device, torch.float32)
        return *_picture(device, height, width), generated, alpha, matrix, 0, 0, 8, 0, mode

    def call(*given: Any) -> Sequence[Any]:  # noqa: ANN401
        composite(*given)
        return given[:3]

    def exact(*given: Any) -> Sequence[Any]:  # noqa: ANN401
        arguments = [*given]
        arguments[5] = arguments[5].double()
        return composite_ref(*arguments)

    # torch.compile would take a minute for the hundreds of operations of mode membrane.
    rivals = torch_rivals(composite_ref) if mode == "paste" else (Rival(name="torch", call=composite_ref),)
    return KernelCase(
        op="composite",
        shape=f"{box} {mode}",
        modules=("composite",) if mode == "paste" else ("composite", "pull_push_level"),
        inputs=inputs,
        call=call,
        exact=exact,
        tolerance=SAMPLE_TOLERANCE,
        # What was generated, alpha, and the planes read and written.
        bytes=int(height * width * (3 * 2 + 1 + 2 * 1.5)),
        rivals=rivals,
    )


def _picture(device: torch.device, height: int, width: int) -> Sequence[Tensor]:
    """Random planes of 8 bits, 4:2:0."""
    draw = partial(torch.randint, 16, 236, dtype=torch.uint8, device=device)
    return draw((height, width)), draw((height // 2, width // 2)), draw((height // 2, width // 2))


def _smooth(device: torch.device, height: int, width: int) -> Tensor:
    """Normal numbers 16 pixels apart, and what lies between."""
    coarse = torch.randn(1, 1, height // 16 + 1, width // 16 + 1, device=device)
    return interpolate(coarse, (height, width), mode="bilinear")[0, 0]
