"""Networks to ONNX graphs: one denoising step, the control's embedding, and the VAE's steps with caches in and out.

Height, width and latents stay open. The first step of a VAE run has a graph of its own: it takes one frame or gives
one, and no caches.
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

from clear_rt.export.onnx_attention import onnx_attention
from clear_rt.models.baked import BakedDit
from clear_rt.models.vae_blocks import AttentionBlock
from clear_rt.models.vae_step import DecoderStep, EncoderStep

OPSET = 20
# Sizes of the example that is traced: patches of 16 px, all different, none of them 1.
_ROWS, _COLUMNS, _LATENTS = 3, 5, 4
# 512 patches are 8,192 px each way; the rotary tables end at 1,024.
_MOST = 512
Dims = dict[int, Any]


def step_graph(dit: BakedDit) -> torch.onnx.ONNXProgram:
    """latents [1, C, L, h, w], control [1, N, width], row int64 [] -> velocity [1, C, L, h, w]."""
    channels = dit.config.latent_channels
    latents = torch.zeros(1, channels, _LATENTS, 2 * _ROWS, 2 * _COLUMNS)
    inputs = (latents, dit.control(latents), torch.tensor(0))
    # The number of tokens follows from the other three; torch finds that by itself.
    shapes: tuple[Dims | None, ...] = (_latent_dims(), {1: Dim.AUTO}, None)
    with _attending(dit):
        return traced(dit, inputs, shapes, ["latents", "control", "row"], ["velocity"])


def control_graph(dit: BakedDit) -> torch.onnx.ONNXProgram:
    """latents [1, C, L, h, w] -> control [1, N, width]."""
    latents = torch.zeros(1, dit.config.latent_channels, _LATENTS, 2 * _ROWS, 2 * _COLUMNS)
    return traced(dit.control, (latents,), (_latent_dims(),), ["latents"], ["control"])


def encoder_graphs(step: EncoderStep) -> dict[str, torch.onnx.ONNXProgram]:
    """frames [1, 3, T, H, W], caches -> latent [1, C, 1, h, w], caches; T = 1 without caches, else 4."""
    first = torch.zeros(1, 3, 1, 16 * _ROWS, 16 * _COLUMNS)
    later = torch.zeros(1, 3, step.config.latent_frames, 16 * _ROWS, 16 * _COLUMNS)
    return _vae_graphs("encoder", step, first, later, "frames", "latent")


def decoder_graphs(step: DecoderStep) -> dict[str, torch.onnx.ONNXProgram]:
    """latent [1, C, 1, h, w], caches -> frames [1, 3, T, H, W], caches; T = 1 without caches, else 4."""
    latent = torch.zeros(1, step.config.latent_channels, 1, 2 * _ROWS, 2 * _COLUMNS)
    return _vae_graphs("decoder", step, latent, latent, "latent", "frames")


def _vae_graphs(
    role: str, step: EncoderStep | DecoderStep, first: Tensor, later: Tensor, given: str, made: str
) -> dict[str, torch.onnx.ONNXProgram]:
    caches = tuple(step(first)[1:])
    old, new = ([f"{word}_{i}" for i in range(len(caches))] for word in ("cache", "next"))
    begin, proceed = _spatial_dims([first]), _spatial_dims([later, *caches])
    with _attending(step):
        return {
            f"{role}_first": traced(step, (first,), (begin[0],), [given], [made, *new]),
            f"{role}_next": traced(
                step, (later, *caches), (proceed[0], tuple(proceed[1:])), [given, *old], [made, *new]
            ),
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


@contextmanager
def _attending(model: nn.Module) -> Iterator[None]:
    """Every attention of the model as ONNX Runtime's node."""
    holders = [m for m in model.modules() if isinstance(m, (BakedDit, AttentionBlock))]
    before = [m.attend for m in holders]
    try:
        for holder in holders:
            holder.attend = onnx_attention
        yield
    finally:
        for holder, attend in zip(holders, before, strict=True):
            holder.attend = attend


def traced(
    module: nn.Module, inputs: tuple[Any, ...], shapes: Sequence[Any], names_in: list[str], names_out: list[str]
) -> torch.onnx.ONNXProgram:
    """The graph of a module that was traced on `inputs`; `shapes` says per input which axes stay open."""
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript"), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            inputs,
            input_names=names_in,
            output_names=names_out,
            opset_version=OPSET,
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
