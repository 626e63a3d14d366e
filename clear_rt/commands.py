"""The commands and their options: parse, make a config, call, and say what was done."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from clear_rt import prose
from clear_rt.burn.config import BurnConfig, Position, ScriptName, StyleName
from clear_rt.commands_bench import bench
from clear_rt.commands_export import build_engine, export
from clear_rt.commands_fetch import fetch
from clear_rt.config import (
    CompositeConfig,
    CompositeMode,
    DecoderName,
    DenoiseConfig,
    EncoderName,
    EngineName,
    FillMode,
    KernelsName,
    Policy,
    ReadConfig,
    RegionConfig,
    RunConfig,
    WriteConfig,
    refuse_model_options,
)
from clear_rt.console import Told, warn
from clear_rt.errors import ConfigError
from clear_rt.progress import bar
from clear_rt.shapes import Box
from clear_rt.version import __version__

app = typer.Typer(name="clear-rt", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

RUN, COMPOSITE, DENOISE = RunConfig(), CompositeConfig(), DenoiseConfig()
READ, WRITE, BURN = ReadConfig(), WriteConfig(), BurnConfig()

Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the result goes.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of prose.")]
Crf = Annotated[int, typer.Option(help="Quality of re-encoded pictures on x264's scale: 0 to 51, less is better.")]
Lossless = Annotated[bool, typer.Option("--lossless", help="Encode without loss; --crf is then ignored.")]
BundleFolder = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="A bundle's folder; the embedded clear-tiny if left out.")
]
MaxMemory = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Memory of the GPU that may be used, such as 8GB or 40GiB; for the engine cuda."),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clear-rt {__version__}")
        raise typer.Exit


@app.callback()
def clear_rt(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Removes burned-in subtitles from video, without masks."""


def _region(text: str) -> RegionConfig:
    if text in ("auto", "full"):
        return RegionConfig(mode="auto" if text == "auto" else "full")
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--region must be auto, full or x,y,w,h in pixels, got {text!r}") from None
    if min(x, y) < 0 or min(width, height) < 1:
        raise ConfigError(f"--region x,y,w,h needs x, y >= 0 and w, h >= 1, got {text!r}")
    return RegionConfig(mode="fixed", box=Box(x, y, width, height))


def _denoise(
    fill: FillMode,
    steps: int | None,
    policy: Policy | None,
    noise: Path | None,
    seed: int | None,
    max_memory: str | None,
) -> DenoiseConfig:
    if fill == "membrane":
        refuse_model_options(steps=steps, policy=policy, noise=noise, seed=seed, **{"max-memory": max_memory})
    seed = DENOISE.seed if seed is None else seed
    return DenoiseConfig(policy=policy or DENOISE.policy, steps=steps, seed=seed, noise=noise)


@app.command()
def remove(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video to read; it is never changed.")],
    output: Output,
    region: Annotated[str, typer.Option(help="Where text is removed: auto, full, or x,y,w,h in pixels.")] = "auto",
    composite: Annotated[CompositeMode, typer.Option(help="How a generated fill meets the source.")] = COMPOSITE.mode,
    fill: Annotated[FillMode, typer.Option(help="What fills the place of the text.")] = COMPOSITE.fill,
    engine: Annotated[EngineName, typer.Option(help="What runs the networks.")] = RUN.engine,
    kernels: Annotated[KernelsName, typer.Option(help="What the cuda engine computes with.")] = RUN.kernels,
    bundle: BundleFolder = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps of the model's fill; the bundle's default if left out.")
    ] = DENOISE.steps,
    policy: Annotated[
        Policy | None, typer.Option(help=f"How its windows are coupled; {DENOISE.policy} if left out.")
    ] = None,
    noise: Annotated[
        Path | None, typer.Option(metavar="FILE.npy", help="Noise to start from instead of drawn noise.")
    ] = DENOISE.noise,
    seed: Annotated[int | None, typer.Option(help=f"Seed of the model's noise; {DENOISE.seed} if left out.")] = None,
    max_memory: MaxMemory = None,
    decoder: Annotated[DecoderName, typer.Option(help="What decodes after the first pass.")] = READ.decoder,
    encoder: Annotated[EncoderName, typer.Option(help="What encodes the pictures.")] = WRITE.encoder,
    crf: Crf = WRITE.crf,
    lossless: Lossless = False,
    preview: Annotated[Path | None, typer.Option(metavar="FILE.png", help="A few frames: source, map, result.")] = None,
    compare: Annotated[Path | None, typer.Option(metavar="FILE.mp4", help="Source and result side by side.")] = None,
    as_json: AsJson = False,
) -> Told:
    """Find the subtitles of VIDEO and remove them."""
    config = RunConfig(
        region=_region(region),
        composite=CompositeConfig(mode=composite, fill=fill),
        denoise=_denoise(fill, steps, policy, noise, seed, max_memory),
        read=ReadConfig(decoder=decoder),
        write=WriteConfig(crf=crf, lossless=lossless, encoder=encoder),
        engine=engine,
        kernels=kernels,
        bundle=bundle,
    )
    from clear_rt.bundle import open_bundle
    from clear_rt.memory_plan.removal import admit_removal
    from clear_rt.preview import watching
    from clear_rt.remover import Remover

    opened = open_bundle(config.bundle)
    admit = admit_removal(video, config, opened, max_memory)
    remover = Remover(config, bundle=opened, admit=admit)
    with ExitStack() as stack:
        observe = stack.enter_context(watching(video, output, preview, compare, remover.bundle.prior.short_side_px))
        tell = stack.enter_context(bar(quiet=as_json))
        report = remover(video, output, tell, observe)
    warn(*report.dropped_streams, *report.notes)
    if observe is not None and report.video_copied:
        warn("no text was found, so there is nothing to preview or to compare")
    text = json.dumps(report.as_dict()) if as_json else prose.summary(report)
    return Told(text, f"{output} is complete, but the report on it")


@app.command()
def burn(
    clean: Annotated[Path, typer.Argument(metavar="CLEAN", help="A video without subtitles.")],
    output: Output,
    subtitles: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lines from .srt or .ass; random if left out.")
    ] = None,
    script: Annotated[ScriptName, typer.Option(help="Script of random lines.")] = BURN.script,
    style: Annotated[StyleName, typer.Option(help="Look of the lines.")] = BURN.style,
    position: Annotated[Position, typer.Option(help="Edge of the picture.")] = BURN.position,
    size: Annotated[float | None, typer.Option(help="Font size as a share of the picture's height.")] = None,
    font: Annotated[Path | None, typer.Option(metavar="FILE", help="A font instead of those found by script.")] = None,
    mask: Annotated[Path | None, typer.Option(metavar="MASK.mkv", help="Write the true mask as gray video.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of lines and look.")] = BURN.seed,
    crf: Crf = WRITE.crf,
    lossless: Lossless = False,
) -> Told:
    """Draw subtitles into CLEAN, for `remove` and `eval` to be tried on."""
    from clear_rt.burn.video import burn as draw

    config = BurnConfig(
        script=script,
        seed=seed,
        size_share=size,
        position=position,
        style=style,
        font=font,
        subtitles=subtitles,
    )
    write = WriteConfig(crf=crf, lossless=lossless)
    with bar() as tell:
        report = draw(
            clean, output, config, mask=mask, write_config=write, progress=lambda done: tell("burning", done, None)
        )
    warn(*report.dropped_streams)
    if report.missing_characters:
        warn(f"no font at hand shows {report.missing_characters}; give --font FILE")
    return Told(
        f"{output}: {report.captions} captions on {report.frames_with_text} of {report.frames} frames",
        f"{output} is complete, but the report on it",
    )


@app.command(name="eval")
def evaluate(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="A video that text was removed from.")],
    clean: Annotated[Path, typer.Option(metavar="CLEAN", help="The same video before text was burned in.")],
    source: Annotated[Path | None, typer.Option(metavar="SUBTITLED", help="The subtitled video.")] = None,
    mask: Annotated[Path | None, typer.Option(metavar="MASK.mkv", help="The mask that `burn --mask` wrote.")] = None,
    every_frames: Annotated[int, typer.Option(help="Look for text and measure SSIM on every n-th frame.")] = 10,
    as_json: AsJson = False,
) -> Told:
    """Compare RESULT with CLEAN: PSNR over the frame, inside and outside the text; text found before and after."""
    from clear_rt.metrics.evaluate import evaluate as measure

    with bar(quiet=as_json) as tell:
        found = measure(
            result, clean, source, mask, every_frames=every_frames, progress=lambda done: tell("comparing", done, None)
        ).as_dict()
    return Told(json.dumps(found) if as_json else prose.scores(found))


@app.command()
def info(
    video: Annotated[Path | None, typer.Argument(metavar="[VIDEO]", help="A video to describe.")] = None,
    bundle: BundleFolder = None,
    plan: Annotated[
        str | None,
        typer.Option(
            metavar="WxH[xFRAMES]",
            help="Plan the memory that the engine cuda takes for a region of that size, or for a profile of bench.",
        ),
    ] = None,
    max_memory: MaxMemory = None,
    as_json: AsJson = False,
) -> Told:
    """Say what is installed, what the bundle holds and, with VIDEO, what it is made of."""
    from clear_rt.inventory import inventory

    found = inventory(video, bundle, plan, max_memory)
    if as_json:
        return Told(json.dumps(found))
    planned = found.pop("memory_plan", None)
    return Told(prose.facts(found) if planned is None else f"{prose.facts(found)}\n{prose.memory(planned)}")


app.command()(export)
app.command()(build_engine)
app.command()(fetch)
app.command()(bench)
