"""The baked transformer in FP8: nvidia-modelopt calibrates, `Fp8Linear` holds what comes of it (design section 8)."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

from clear_rt.errors import ConfigError, WeightsError
from clear_rt.export.scales import Scales
from clear_rt.models.baked import BakedDit
from clear_rt.models.fp8 import Fp8Linear, Fp8Rounded, replace_modules, scale_of
from clear_rt.models.fp8_policy import Fp8Policy, block_linears, quantized_linears, rounded_inputs

Run = Callable[[BakedDit], object]
# Per output channel for weights, per tensor for inputs, which then need no pass of their own at run time.
_E4M3: dict[str, Any] = {"num_bits": (4, 3)}


def calibrate(dit: BakedDit, run: Run) -> Scales:
    """The largest inputs of linears and attention of all blocks, while `run` lets a model see what it will at run time.

    `run` gets a model that answers as `dit` does and shares its weights; `dit` itself stays as it is.
    Raises ConfigError where modelopt is not installed, or where a linear saw nothing but zeros, NaN or infinities;
    WeightsError for weights that are not finite.
    """
    names = block_linears(dit.config)
    _check_weights(dit, names)
    with _silent() as aloud:
        modelopt, watched = _modelopt(), sharing(dit)
        attended = _watched(watched)
        try:
            model = modelopt(watched, modelopt_config(dit), forward_loop=aloud(run))
        except AssertionError as error:
            raise ConfigError(
                f"expected finite inputs of all linears, modelopt found others ({' '.join(str(error).split())[:160]}); "
                "calibrate in fp32, and on other clips"
            ) from None
    quantizers: dict[str, Any] = {name: model.get_submodule(name).input_quantizer for name in names}
    unseen = next((name for name, quantizer in quantizers.items() if quantizer.amax is None), None)
    if unseen is not None:
        raise ConfigError(
            f"expected windows to calibrate on, found none that reached {unseen}; give clips with subtitles"
        )
    return Scales({name: float(quantizer.amax) for name, quantizer in quantizers.items()} | attended)


def _watched(dit: BakedDit) -> dict[str, float]:
    """The largest queries, keys and values of every block so far, which modelopt has no place for."""
    names = rounded_inputs(dit.config, Fp8Policy(edge_share=0, attention=True))
    largest = dict.fromkeys(names, 0.0)

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            largest[name] = max(largest[name], float(inputs[0].abs().max()))

        return hook

    for name in names:
        dit.get_submodule(name).register_forward_pre_hook(watch(name))
    return largest


def quantize(dit: BakedDit, scales: Scales, policy: Fp8Policy | None = None) -> BakedDit:
    """`dit` with what the policy names in FP8; everything else is shared with `dit`, which stays as it is.

    Raises ConfigError where the policy leaves nothing to FP8 or `scales` are another model's, WeightsError for weights
    that are not finite.
    """
    policy = policy or Fp8Policy()
    names = quantized_linears(dit.config, policy)
    if not names:
        raise ConfigError(
            f"expected a transformer with blocks between its first and last {policy.edge_blocks(dit.config.layers)}, "
            f"which FP8 leaves alone, found {dit.config.layers} in all; use --precision bf16"
        )
    return in_fp8(dit, scales, names + rounded_inputs(dit.config, policy))


def in_fp8(dit: BakedDit, scales: Scales, names: Iterable[str]) -> BakedDit:
    """As `quantize`, for the modules of these names."""
    amax = scales.of(names)
    _check_weights(dit, amax)
    made = sharing(dit)
    replace_modules(made, {name: _fp8(dit, name, largest) for name, largest in amax.items()})
    return made


def sharing(dit: BakedDit) -> BakedDit:
    """Another model of the same tensors: modules can be exchanged in it, values cannot be changed."""
    with torch.device("meta"):
        made = BakedDit(dit.config, dit.attend, dit.ops)
    made.load_state_dict(dit.state_dict(), assign=True)
    return made.place_turns(dit.time).requires_grad_(False).eval()


def modelopt_config(dit: BakedDit) -> dict[str, Any]:
    """modelopt's configuration for FP8 of all linears of all blocks, by the largest values (max calibration)."""
    enabled = [
        {"quantizer_name": f"{name}.{part}_quantizer", "cfg": _E4M3 | {"axis": axis}}
        for name in block_linears(dit.config)
        for part, axis in (("weight", 0), ("input", None))
    ]
    return {"quant_cfg": [{"quantizer_name": "*", "enable": False}, *enabled], "algorithm": "max"}


def _fp8(dit: BakedDit, name: str, amax: float) -> nn.Module:
    module, scale = dit.get_submodule(name), scale_of(torch.tensor(amax, device=dit.time.device))
    return Fp8Linear.of(module, scale) if isinstance(module, nn.Linear) else Fp8Rounded(scale)


def _check_weights(dit: BakedDit, names: Iterable[str]) -> None:
    weights = ((name, parameter) for name in names for parameter in dit.get_submodule(name).parameters())
    bad = next((name for name, parameter in weights if not bool(parameter.isfinite().all())), None)
    if bad is not None:
        raise WeightsError(f"expected finite weights, found NaN or infinity in {bad}.weight; fetch the weights again")


def _modelopt() -> Callable[..., nn.Module]:
    """Its import takes ten seconds and talks."""
    try:
        from modelopt.torch.quantization import quantize
    except ImportError as error:
        raise ConfigError(
            f"FP8 needs nvidia-modelopt, which cannot be imported ({' '.join(str(error).split())}); "
            "run pip install 'clear-rt[export]', or give --scales"
        ) from None
    return quantize


@contextmanager
def _silent() -> Iterator[Callable[[Run], Run]]:
    """Keeps what modelopt prints off the terminal; gives a function whose results print as before."""
    terminal, level = (sys.stdout, sys.stderr), logging.root.manager.disable

    def aloud(run: Run) -> Run:
        def running(model: BakedDit) -> None:
            with redirect_stdout(terminal[0]), redirect_stderr(terminal[1]):
                run(model)

        return running

    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield aloud
        finally:
            logging.disable(level)
