"""Networks to ONNX graphs: one denoising step, the control's embedding, and the VAE's steps with caches in and out.

Height, width and latents stay open, or are `fixed`: torch then need not work out every size as a formula, which takes
two thirds of the time of the VAE's graphs and two fifths of a step's. The first step of a VAE run has a graph of its
own: it takes one frame or gives one, and no caches. Inputs and outputs are float32; where a dialect computes in halves,
control tokens and caches, which are only handed on, are halves, too.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from clear_rt.export.dialect import ONNX_RUNTIME, Dialect
from clear_rt.export.plan_order import Axes
from clear_rt.models.baked import BakedDit
from clear_rt.models.vae_step import DecoderStep, EncoderStep

# What is traced where sizes stay open: all different, none of them 1, in patches of 16 px.
_EXAMPLE = Axes(rows=3, columns=5, latents=4)
# 512 patches are 8,192 px each way; the rotary tables end at 1,024.
_MOST = 512
Dims = dict[int, Any]
# Per argument of a module, all of them in one, which axes stay open; None where none does.
Shapes = Sequence[Any] | None


def step_graph(dit: BakedDit, dialect: Dialect = ONNX_RUNTIME, fixed: Axes | None = None) -> torch.onnx.ONNXProgram:
    """latents [1, C, L, h, w], control [1, N, width], row int64 [] -> velocity [1, C, L, h, w]."""
    axes = fixed or _EXAMPLE
    control = torch.zeros(1, axes.latents * axes.rows * axes.columns, dit.config.width, dtype=dialect.halves)
    inputs = (_latents(dit, axes), control, torch.tensor(0))
    # The number of tokens follows from the other three; torch finds that by itself.
    shapes: Shapes = None if fixed else ((_latent_dims(), {1: Dim.AUTO}, None),)
    with dialect.spoken_by(dit):
        return traced(_Typed(dit, dialect), inputs, shapes, ["latents", "control", "row"], ["velocity"], dialect)


def control_graph(dit: BakedDit, dialect: Dialect = ONNX_RUNTIME, fixed: Axes | None = None) -> torch.onnx.ONNXProgram:
    """latents [1, C, L, h, w] -> control [1, N, width]."""
    handed_on = _Typed(dit.control, dialect, widened=False)
    shapes: Shapes = None if fixed else ((_latent_dims(),),)
    return traced(handed_on, (_latents(dit, fixed or _EXAMPLE),), shapes, ["latents"], ["control"], dialect)


def encoder_graphs(
    step: EncoderStep, dialect: Dialect = ONNX_RUNTIME, fixed: Axes | None = None
) -> dict[str, torch.onnx.ONNXProgram]:
    """frames [1, 3, T, H, W], caches -> latent [1, C, 1, h, w], caches; T = 1 without caches, else 4."""
    first = torch.zeros(1, 3, 1, 16 * _EXAMPLE.rows, 16 * _EXAMPLE.columns)
    later = torch.zeros(1, 3, step.config.latent_frames, 16 * _EXAMPLE.rows, 16 * _EXAMPLE.columns)
    return _vae_graphs("encoder", step, (first, later), ("frames", "latent"), dialect, fixed)


def decoder_graphs(
    step: DecoderStep, dialect: Dialect = ONNX_RUNTIME, fixed: Axes | None = None
) -> dict[str, torch.onnx.ONNXProgram]:
    """latent [1, C, 1, h, w], caches -> frames [1, 3, T, H, W], caches; T = 1 without caches, else 4."""
    latent = torch.zeros(1, step.config.latent_channels, 1, 2 * _EXAMPLE.rows, 2 * _EXAMPLE.columns)
    return _vae_graphs("decoder", step, (latent, latent), ("latent", "frames"), dialect, fixed)


class _Typed(nn.Module):
    """A network in halves that takes float32, and gives it as its first result if `widened`."""

    def __init__(self, network: nn.Module, dialect: Dialect, *, widened: bool = True) -> None:
        super().__init__()
        self.network, self._halves, self._widened = network, dialect.halves, widened

    def forward(self, *inputs: Tensor) -> Any:  # noqa: ANN401 - as the network's
        if self._halves is None:
            return self.network(*inputs)
        found = self.network(*(x.to(self._halves) if x.dtype == torch.float32 else x for x in inputs))
        if not self._widened:
            return found
        return found.float() if isinstance(found, Tensor) else (found[0].float(), *found[1:])


def _vae_graphs(
    role: str,
    step: EncoderStep | DecoderStep,
    examples: tuple[Tensor, Tensor],
    names: tuple[str, str],
    dialect: Dialect,
    fixed: Axes | None,
) -> dict[str, torch.onnx.ONNXProgram]:
    """`examples`: of a first step, and of a later one without its caches."""
    typed, (given, made) = _Typed(step, dialect), names
    caches = tuple(typed(examples[0])[1:])
    begin, proceed = examples[:1], (examples[1], *caches)
    old, new = ([f"{word}_{i}" for i in range(len(caches))] for word in ("cache", "next"))
    with dialect.spoken_by(step):
        return {
            f"{role}_first": _spatial(typed, begin, [given], [made, *new], dialect, fixed),
            f"{role}_next": _spatial(typed, proceed, [given, *old], [made, *new], dialect, fixed),
        }


def _spatial(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    names_in: list[str],
    names_out: list[str],
    dialect: Dialect,
    fixed: Axes | None,
) -> torch.onnx.ONNXProgram:
    """The graph of a module all of whose inputs are pictures of the same rows and columns of patches."""
    if fixed:
        return traced(module, tuple(_enlarged(x, fixed) for x in examples), None, names_in, names_out, dialect)
    rows, columns = Dim("rows", min=1, max=_MOST), Dim("columns", min=1, max=_MOST)
    shapes = ({3: _per_row(x) * rows, 4: _per_column(x) * columns} for x in examples)
    return traced(module, examples, (tuple(shapes),), names_in, names_out, dialect)


def _enlarged(example: Tensor, axes: Axes) -> Tensor:
    """Another of so many patches, of which only the sizes count: memory that is not written to is not taken up."""
    return example.new_empty(*example.shape[:3], _per_row(example) * axes.rows, _per_column(example) * axes.columns)


def _per_row(example: Tensor) -> int:
    return example.shape[3] // _EXAMPLE.rows


def _per_column(example: Tensor) -> int:
    return example.shape[4] // _EXAMPLE.columns


def _latents(dit: BakedDit, axes: Axes) -> Tensor:
    return torch.zeros(1, dit.config.latent_channels, axes.latents, 2 * axes.rows, 2 * axes.columns)


def _latent_dims() -> Dims:
    return {
        2: Dim("latents", min=1, max=_MOST),
        3: 2 * Dim("rows", min=1, max=_MOST),
        4: 2 * Dim("columns", min=1, max=_MOST),
    }


def traced(
    module: nn.Module,
    inputs: tuple[Any, ...],
    shapes: Shapes,
    names_in: list[str],
    names_out: list[str],
    dialect: Dialect = ONNX_RUNTIME,
) -> torch.onnx.ONNXProgram:
    """The graph of a module that was traced on `inputs`; `shapes` says per argument which axes stay open, if any."""
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript"), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            inputs,
            input_names=names_in,
            output_names=names_out,
            opset_version=dialect.opset,
            dynamic_shapes=None if shapes is None else tuple(shapes),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    return program


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """The exporter tells of every operator of libraries that nobody asked for."""
    loggers: Mapping[logging.Logger, int] = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)
