"""`clear-rt export`: options to a config and one call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from clear_rt.console import Told
from clear_rt.errors import ConfigError
from clear_rt.export.config import ExportConfig, Store, Timesteps
from clear_rt.progress import stages

DEFAULT = ExportConfig()


def export(
    weights: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of Wan2.1-Fun-V1.1-1.3B-Control weights, Wan's or diffusers'.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="BUNDLE", help="The bundle's folder.")],
    engine: Annotated[
        list[str] | None, typer.Option(help="What the bundle is for: onnx, cuda; may be given twice.")
    ] = None,
    lora: Annotated[Path | None, typer.Option(metavar="FILE", help="CLEAR's checkpoint, merged into it.")] = None,
    lora_scale: Annotated[float, typer.Option(help="How much of the checkpoint is merged.")] = DEFAULT.lora_scale,
    prompt: Annotated[
        str | None, typer.Option(help="The prompt to bake in; that of prompt.safetensors if left out.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Denoising steps by default.")] = DEFAULT.steps,
    timesteps: Annotated[
        Timesteps, typer.Option(help="Exact, or rounded to bf16 as the released code does.")
    ] = DEFAULT.timesteps,
    shift: Annotated[float, typer.Option(help="Shift of the noise schedule.")] = DEFAULT.shift,
    window: Annotated[int, typer.Option(help="Latents denoised together; 21 hold 81 frames.")] = DEFAULT.window_latents,
    overlap: Annotated[int, typer.Option(help="Latents that two windows share.")] = DEFAULT.overlap_latents,
    max_pixels: Annotated[
        int, typer.Option(help="Area of a region above which it is scaled down.")
    ] = DEFAULT.max_pixels,
    store: Annotated[Store, typer.Option(help="How weights are stored; arithmetic is fp32.")] = DEFAULT.store,
    prior: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Bundle to take the occlusion prior from.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest instead of prose.")] = False,
) -> Told:
    """Turn weights into a bundle: merge, bake, trace, and write a manifest."""
    config = ExportConfig(
        engines=tuple(dict.fromkeys(engine)) if engine else DEFAULT.engines,
        adapter=lora,
        lora_scale=lora_scale,
        prompt=prompt,
        steps=steps,
        timesteps=timesteps,
        shift=shift,
        window_latents=window,
        overlap_latents=overlap,
        max_pixels=max_pixels,
        store=store,
        prior=prior,
    )
    try:
        from clear_rt.export.bundle import export as build
    except ImportError as error:
        raise ConfigError(
            f"clear-rt export needs {error.name}, which is not installed; run pip install 'clear-rt[export]'"
        ) from error
    with stages(quiet=as_json) as tell:
        manifest = build(weights, output, config, tell)
    generator = manifest["generator"]
    said = (
        f"{output}: bundle for {', '.join(config.engines)}, {generator['parameters'] / 1e6:.1f} M parameters, "
        f"windows of {window} latents with {overlap} shared, {', '.join(generator['steps'])} steps"
    )
    return Told(json.dumps(manifest) if as_json else said, f"{output} is complete, but the report on it")
