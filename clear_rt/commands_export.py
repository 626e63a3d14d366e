"""`clear-rt export` and `clear-rt build-engine`: options to a config and one call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from clear_rt.console import Told
from clear_rt.errors import ConfigError
from clear_rt.export.build_config import BuildConfig
from clear_rt.export.config import ExportConfig, Precision, Store, Timesteps, lacking
from clear_rt.export.profiles import read_profiles
from clear_rt.progress import stages

DEFAULT, BUILD = ExportConfig(), BuildConfig()
# Of a window: 4 latents of 21, 2 of 9.
OVERLAP_SHARE = DEFAULT.overlap_latents / DEFAULT.window_latents

Weights = Annotated[
    str,
    typer.Option(
        metavar="DIR|OWNER/NAME",
        help="Wan2.1-Fun-V1.1-1.3B-Control, Wan's files or diffusers': a folder, or what `clear-rt fetch` fetched.",
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="BUNDLE", help="The bundle's folder.")]
Lora = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE|OWNER/NAME", help="CLEAR's checkpoint, merged into it; may be given several times."),
]
LoraScale = Annotated[
    list[float] | None, typer.Option(help="How much of each checkpoint is merged; once for all, or once for each.")
]
Prompt = Annotated[
    str | None,
    typer.Option(help="The prompt to bake in: train, script, or a text; that of prompt.safetensors if left out."),
]
PromptFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="An embedding made before: no text encoder is needed.")
]
Steps = Annotated[int, typer.Option(help="Denoising steps by default.")]
Overlap = Annotated[int, typer.Option(help="Latents that two windows share.")]
StoreAs = Annotated[Store, typer.Option(help="How weights are stored; arithmetic is not changed.")]
Prior = Annotated[Path | None, typer.Option(metavar="BUNDLE", help="Bundle to take the occlusion prior from.")]
Rebuild = Annotated[bool, typer.Option("--rebuild", help="Replace a bundle that was made of something else.")]
Verify = Annotated[
    bool, typer.Option("--verify/--no-verify", help="Compare every engine with the network it was made of.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the manifest instead of prose.")]


def export(
    weights: Weights,
    output: Output,
    engine: Annotated[
        list[str] | None, typer.Option(help="What the bundle is for: onnx, cuda; may be given twice.")
    ] = None,
    lora: Lora = None,
    lora_scale: LoraScale = None,
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    steps: Steps = DEFAULT.steps,
    timesteps: Annotated[
        Timesteps, typer.Option(help="Exact, or rounded to bf16 as the released code does.")
    ] = DEFAULT.timesteps,
    shift: Annotated[float, typer.Option(help="Shift of the noise schedule.")] = DEFAULT.shift,
    window: Annotated[int, typer.Option(help="Latents denoised together; 21 hold 81 frames.")] = DEFAULT.window_latents,
    overlap: Overlap = DEFAULT.overlap_latents,
    max_pixels: Annotated[
        int, typer.Option(help="Area of a region above which it is scaled down.")
    ] = DEFAULT.max_pixels,
    store: StoreAs = DEFAULT.store,
    prior: Prior = None,
    rebuild: Rebuild = BUILD.rebuild,
    verify: Verify = BUILD.verify,
    as_json: AsJson = False,
) -> Told:
    """Turn weights into a bundle: merge, bake, trace, verify, and write a manifest; `build-engine` without TensorRT."""
    engines = _listed(engine) or DEFAULT.engines
    if "trt" in engines:
        raise ConfigError("clear-rt export builds no TensorRT engines; run clear-rt build-engine")
    config = ExportConfig(
        engines=engines,
        adapters=_adapters(lora, lora_scale),
        prompt=prompt,
        prompt_file=prompt_file,
        steps=steps,
        timesteps=timesteps,
        shift=shift,
        window_latents=window,
        overlap_latents=overlap,
        max_pixels=max_pixels,
        store=store,
        prior=prior,
    )
    return _built(weights, output, config, BuildConfig(rebuild=rebuild, verify=verify), as_json)


def build_engine(
    weights: Weights,
    output: Output,
    precision: Annotated[Precision, typer.Option(help="What engines compute in.")] = "bf16",
    profile: Annotated[
        list[str] | None,
        typer.Option(help="Shape of regions: 720p-band192, 720p, WxH, WxHxFRAMES, ...; may be given several times."),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(help="What the bundle holds: trt, cuda, onnx, or several with commas; trt,cuda if left out."),
    ] = None,
    lora: Lora = None,
    lora_scale: LoraScale = None,
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    steps: Steps = DEFAULT.steps,
    overlap: Annotated[
        int | None, typer.Option(help="Latents that two windows share; a fifth of a window if left out.")
    ] = None,
    store: StoreAs = DEFAULT.store,
    prior: Prior = None,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(metavar="CLIP", help="For fp8: a video with subtitles; may be given several times."),
    ] = None,
    scales: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For fp8: scales.json of an earlier bundle, instead of clips.")
    ] = None,
    fp8_attention: Annotated[
        bool, typer.Option("--fp8-attention", help="For fp8: queries, keys and values, too.")
    ] = DEFAULT.fp8_attention,
    target: Annotated[
        str | None, typer.Option(metavar="sm_NN", help="GPU to build for; the one of this machine if left out.")
    ] = BUILD.target,
    timing_cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What TensorRT measured, kept for the next build.")
    ] = BUILD.timing_cache,
    builder_level: Annotated[int | None, typer.Option(help="How long TensorRT searches, 0 to 5.")] = BUILD.level,
    workspace: Annotated[
        float | None, typer.Option(metavar="GB", help="GPU memory that TensorRT may use for scratch.")
    ] = BUILD.workspace_gb,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be built, and build nothing.")] = False,
    rebuild: Rebuild = BUILD.rebuild,
    verify: Verify = BUILD.verify,
    as_json: AsJson = False,
) -> Told:
    """Turn weights into a bundle with TensorRT engines: merge, bake, quantise, trace, build, verify."""
    profiles = read_profiles(profile or ())
    window = profiles.window_latents or DEFAULT.window_latents
    config = ExportConfig(
        engines=_listed(engine) or ("trt", "cuda"),
        adapters=_adapters(lora, lora_scale),
        prompt=prompt,
        prompt_file=prompt_file,
        precision=precision,
        profiles=profiles.sizes,
        fp8_attention=fp8_attention,
        scales=scales,
        clips=tuple(calibrate or ()),
        steps=steps,
        window_latents=window,
        overlap_latents=round(window * OVERLAP_SHARE) if overlap is None else overlap,
        max_pixels=max((size.width_px * size.height_px for size in profiles.sizes), default=DEFAULT.max_pixels),
        store=store,
        prior=prior,
    )
    build = BuildConfig(
        target=target,
        timing_cache=timing_cache,
        level=builder_level,
        workspace_gb=workspace,
        rebuild=rebuild,
        verify=verify,
    )
    return (
        _predicted(weights, output, config, build, as_json)
        if dry_run
        else _built(weights, output, config, build, as_json)
    )


def _listed(engine: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for text in engine or () for name in text.split(",")))


def _adapters(lora: Sequence[str] | None, scales: Sequence[float] | None) -> tuple[tuple[Path, float], ...]:
    """Every checkpoint with its scale. Raises ConfigError where they are not as many, WeightsError without the file."""
    specs, given = list(lora or ()), list(scales or ())
    if len(given) not in (0, 1, len(specs)) or (given and not specs):
        raise ConfigError(
            f"--lora-scale must be given once, or once for each --lora, got {len(given)} for {len(specs)} checkpoints"
        )
    factors = given * len(specs) if len(given) == 1 else given or [1.0] * len(specs)
    if not specs:
        return ()
    from clear_rt.models.sources import adapter_source

    return tuple(zip(map(adapter_source, specs), factors, strict=True))


@contextmanager
def _torch_needed() -> Iterator[None]:
    """Around imports of what the runtime does without. Raises ConfigError where it is not installed."""
    try:
        yield
    except ImportError as error:
        raise lacking(error.name) from error


def _built(weights: str, output: Path, config: ExportConfig, build: BuildConfig, as_json: bool) -> Told:
    with _torch_needed():
        from clear_rt.export.build import build_bundle
    with stages(quiet=as_json) as tell:
        built = build_bundle(weights, output, config, build, tell)
    return Told(
        json.dumps(built.manifest) if as_json else built.prose(output), f"{output} is complete, but the report on it"
    )


def _predicted(weights: str, output: Path, config: ExportConfig, build: BuildConfig, as_json: bool) -> Told:
    with _torch_needed():
        from clear_rt.export.prediction import prediction
    from clear_rt.prose import facts

    found: dict[str, dict[str, Any]] = prediction(weights, output, config, build)
    return Told(json.dumps(found) if as_json else facts(found))
