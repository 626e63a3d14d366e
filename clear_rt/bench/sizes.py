"""How large a bundle's networks are: from the configurations in its manifest, or from the weights in its graphs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from clear_rt.bench.onnx_shapes import weight_shapes
from clear_rt.bench.work_dit import DitShape
from clear_rt.errors import ConfigError
from clear_rt.models.config_json import from_json
from clear_rt.models.vae_config import VaeConfig

if TYPE_CHECKING:
    from clear_rt.generator import GeneratorSpec

Shapes = Mapping[str, tuple[int, ...]]
# No prompt has more tokens than the text encoder takes, and one key stands for the rest.
_MOST_TEXT_KEYS = 513
_KEYS = "blocks.0.cross_attn.k"


class Sizes(NamedTuple):
    """What arithmetic is counted from."""

    dit: DitShape
    vae: VaeConfig


def sizes_of(spec: GeneratorSpec) -> Sizes:
    """Raises ValueError, which says why, where a bundle tells neither way, as one for TensorRT alone."""
    try:
        if "dit" in spec.models and "vae" in spec.models:
            return Sizes(_dit_described(spec.models["dit"]), from_json(VaeConfig, spec.models["vae"]))
        if {"step", "encoder_next"} <= set(spec.graphs):
            dit, vae = (_named(weight_shapes(spec.graphs[role].graph)) for role in ("step", "encoder_next"))
            return Sizes(_dit_of(dit, spec.latent_channels), _vae_of(vae, spec.latent_channels))
    except ConfigError as error:
        raise ValueError(str(error)) from None
    except (KeyError, IndexError) as error:
        raise ValueError(f"its graphs name their weights otherwise than clear-rt export does ({error})") from None
    raise ValueError("its manifest holds the sizes of no network, and it holds no ONNX graphs")


def _dit_described(values: Mapping[str, Any]) -> DitShape:
    names = ("width", "heads", "layers", "ffn_width", "latent_channels", "occlusion", "text_keys")
    missing = [name for name in names if not isinstance(values.get(name), int)]
    if missing:
        raise ValueError(f"its manifest lacks {', '.join(missing)} of the transformer")
    return DitShape(**{name: values[name] for name in names})


def _named(shapes: Shapes) -> Shapes:
    """By the networks' own names, which exporters put others around: what they are part of, and how they are stored."""
    return {name.removeprefix("network.").removesuffix("_half"): shape for name, shape in shapes.items()}


def _dit_of(shapes: Shapes, latent_channels: int) -> DitShape:
    width = shapes["time"][-1]
    # A rotary table holds half as many angles as a head is wide.
    head_width = 2 * sum(shapes[f"{axis}_turns"][-1] for axis in ("time", "row", "column"))
    return DitShape(
        width=width,
        heads=width // head_width,
        layers=sum(1 for name in shapes if re.fullmatch(r"blocks\.\d+\.modulation", name)),
        ffn_width=shapes["blocks.0.ffn.0.bias"][0],
        latent_channels=latent_channels,
        occlusion="occlusion_head.conv1.bias" in shapes,
        text_keys=_text_keys(shapes, width),
    )


def _text_keys(shapes: Shapes, width: int) -> int:
    """By the keys [keys, heads, head width], or where the exporter has turned them into [1, keys, width] by those."""
    if _KEYS in shapes:
        return shapes[_KEYS][0]
    keys = [s[1] for s in shapes.values() if len(s) == 3 and (s[0], s[2]) == (1, width) and s[1] <= _MOST_TEXT_KEYS]
    return keys[0]


def _vae_of(shapes: Shapes, latent_channels: int) -> VaeConfig:
    """By the biases of the encoder's layers: residual blocks of one width, then a halving."""
    width = base = shapes["encoder.conv1.bias"][0]
    widths: list[int] = []
    temporal: list[bool] = []
    blocks = 0
    for layer in range(_layers(shapes)):
        prefix = f"encoder.downsamples.{layer}"
        if f"{prefix}.residual.2.bias" in shapes:
            blocks += 1
            width = shapes[f"{prefix}.residual.2.bias"][0]
            continue
        widths.append(width)
        temporal.append(f"{prefix}.time_conv.bias" in shapes)
    widths.append(width)
    return VaeConfig(
        base_width=base,
        multipliers=tuple(width // base for width in widths),
        res_blocks=blocks // len(widths),
        latent_channels=latent_channels,
        temporal_down=tuple(temporal),
    )


def _layers(shapes: Shapes) -> int:
    found = (re.match(r"encoder\.downsamples\.(\d+)\.", name) for name in shapes)
    return 1 + max((int(match[1]) for match in found if match), default=-1)
