"""Networks to ONNX graphs: one denoising step, the control's embedding, and the VAE's steps with caches in and out.

Height, width and latents stay open. The first step of a VAE run has a graph of its own: it takes one frame or gives
one, and no caches. Inputs and outputs are float32; where a dialect computes in halves, control tokens and caches, which
are only handed on, are halves, too.
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
from clear_rt.models.baked import BakedDit
from clear_rt.models.vae_step import DecoderStep, EncoderStep

# Sizes of the example that is traced: patches of 16 px, all different, none of them 1.
_ROWS, _COLUMNS, _LATENTS = 3, 5, 4
# 512 patches are 8,192 px each way; the rotary tables end at 1,024.
_MOST = 512
Dims = dict[int, Any]


def step_graph(dit: BakedDit, dialect: Dialect = ONNX_RUNTIME) -> torch.onnx.ONNXProgram:
    """latents [1, C, L, h, w], control [1, N, width], row int64 [] -> velocity [1, C, L, h, w]."""
    channels = dit.config.latent_channels
    latents = torch.zeros(1, channels, _LATENTS, 2 * _ROWS, 2 * _COLUMNS)
    control = torch.zeros(1, _LATENTS * _ROWS * _COLUMNS, dit.config.width, dtype=dialect.halves)
    inputs = (latents, control, torch.tensor(0))
    # The number of tokens follows from the other three; torch finds that by itself.
    shapes: tuple[Dims | None, ...] = (_latent_dims(), {1: Dim.AUTO}, None)
    with dialect.spoken_by(dit):
        return traced(_Typed(dit, dialect), inputs, (shapes,), ["latents", "control", "row"], ["velocity"], dialect)


def control_graph(dit: BakedDit, dialect: Dialect = ONNX_RUNTIME) -> torch.onnx.ONNXProgram:
    """latents [1, C, L, h, w] -> control [1, N, width]."""
    latents = torch.zeros(1, dit.config.latent_channels, _LATENTS, 2 * _ROWS, 2 * _COLUMNS)
    handed_on = _Typed(dit.control, dialect, widened=False)
    return traced(handed_on, (latents,), ((_latent_dims(),),), ["latents"], ["control"], dialect)


def encoder_graphs(step: EncoderStep, dialect: Dialect = ONNX_RUNTIME) -> dict[str, torch.onnx.ONNXProgram]:
    """frames [1, 3, T, H, W], caches -> latent [1, C, 1, h, w], caches; T = 1 without caches, else 4."""
    first = torch.zeros(1, 3, 1, 16 * _ROWS, 16 * _COLUMNS)
    later = torch.zeros(1, 3, step.config.latent_frames, 16 * _ROWS, 16 * _COLUMNS)
    return _vae_graphs("encoder", step, first, later, ("frames", "latent"), dialect)


def decoder_graphs(step: DecoderStep, dialect: Dialect = ONNX_RUNTIME) -> dict[str, torch.onnx.ONNXProgram]:
    """latent [1, C, 1, h, w], caches -> frames [1, 3, T, H, W], caches; T = 1 without caches, else 4."""
    latent = torch.zeros(1, step.config.latent_channels, 1, 2 * _ROWS, 2 * _COLUMNS)
    return _vae_graphs("decoder", step, latent, latent, ("latent", "frames"), dialect)


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
    role: str, step: EncoderStep | DecoderStep, first: Tensor, later: Tensor, names: tuple[str, str], dialect: Dialect
) -> dict[str, torch.onnx.ONNXProgram]:
    typed, (given, made) = _Typed(step, dialect), names
    caches = tuple(typed(first)[1:])
    old, new = ([f"{word}_{i}" for i in range(len(caches))] for word in ("cache", "next"))
    begin, proceed = _spatial_dims([first]), _spatial_dims([later, *caches])
    with dialect.spoken_by(step):
        return {
            f"{role}_first": traced(typed, (first,), (tuple(begin),), [given], [made, *new], dialect),
            f"{role}_next": traced(typed, (later, *caches), (tuple(proceed),), [given, *old], [made, *new], dialect),
        }


def _latent_dims() -> Dims:
    return {
        2: Dim("latents", min=1, max=_MOST),
        3: 2 * Dim("rows", min=1, max=_MOST),
        4: 2 * Dim("columns", min=1, max=_MOST),
    }


def _spatial_dims(tensors: Sequence[Tensor]) -> list[Dims]:
    """Height and width of every tensor as multiples of the same rows and columns of patches."""
    rows, columns = Dim("rows", min=1, max=_MOST), Dim("columns", min=1, max=_MOST)
    return [{3: t.shape[3] // _ROWS * rows, 4: t.shape[4] // _COLUMNS * columns} for t in tensors]


def traced(
    module: nn.Module,
    inputs: tuple[Any, ...],
    shapes: Sequence[Any],
    names_in: list[str],
    names_out: list[str],
    dialect: Dialect = ONNX_RUNTIME,
) -> torch.onnx.ONNXProgram:
    """The graph of a module that was traced on `inputs`; `shapes` says per argument which axes stay open."""
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript"), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            inputs,
            input_names=names_in,
            output_names=names_out,
            opset_version=dialect.opset,
            dynamic_shapes=tuple(shapes),
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
