"""`clear-rt bench`: options to a config and one call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from clear_rt.bench.config import BaselineName, BenchConfig
from clear_rt.config import EngineName, KernelsName, Policy
from clear_rt.console import Told
from clear_rt.profiles import NAMES
from clear_rt.progress import stages

DEFAULT = BenchConfig()


def bench(
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="DIR", help="A bundle's folder; the embedded clear-tiny if left out."),
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="What runs the networks.")] = DEFAULT.engine,
    kernels: Annotated[KernelsName, typer.Option(help="What the cuda engine computes with.")] = DEFAULT.kernels,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Shape of the region: {', '.join(NAMES)}, WxH or WxHxFRAMES; may be given several times. "
            f"{DEFAULT.profiles[0]} if left out."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps; the bundle's default if left out.")
    ] = DEFAULT.steps,
    policy: Annotated[
        Policy | None, typer.Option(help="How windows are coupled; stream for profiles with frames, else paper.")
    ] = DEFAULT.policy,
    runs: Annotated[int, typer.Option(help="Steady windows that are timed.")] = DEFAULT.runs,
    end_to_end: Annotated[
        bool | None,
        typer.Option(
            "--end-to-end/--no-end-to-end",
            help="Run the whole job as well; by default where that is predicted to take "
            f"{DEFAULT.end_to_end_limit_s:.0f} seconds or less.",
        ),
    ] = DEFAULT.end_to_end,
    quality: Annotated[
        bool | None,
        typer.Option("--quality/--no-quality", help="Compare one window with ONNX Runtime; by default as above."),
    ] = DEFAULT.quality,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(get_args(BaselineName)),
            help="diffusers' own networks on the same GPU, beside ours; compile: through torch.compile; reference: "
            "with an unmerged LoRA and a tiled VAE. May be given several times.",
        ),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory of the GPU that may be used, such as 8GB; for the engine cuda."),
    ] = DEFAULT.max_memory,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Everything, as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="The tables, as Markdown.")] = None,
    chart: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Stages per new frame, and a roofline.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A.json B.json", help="Measure nothing; say how many times faster B is than A."),
    ] = None,
) -> Told:
    """Measure what this machine does with a bundle, stage by stage, beside what it could do at best."""
    if compare is not None:
        from clear_rt.bench.comparison import compare as compared

        return Told(compared(*compare))
    config = BenchConfig(
        profiles=tuple(profile or DEFAULT.profiles),
        engine=engine,
        kernels=kernels,
        bundle=bundle,
        steps=steps,
        policy=policy,
        runs=runs,
        end_to_end=end_to_end,
        quality=quality,
        # The config looks at the names.
        baselines=cast("tuple[BaselineName, ...]", tuple(baseline or ())),
        max_memory=max_memory,
    )
    from clear_rt.bench import document, outputs, tables
    from clear_rt.bench.chart import draw
    from clear_rt.bench.run import bench as measured
    from clear_rt.frames import write_png
    from clear_rt.text_file import write_text

    outputs.check_outputs(chart, (json_file, markdown))
    with stages() as tell:
        found = measured(config, tell)
    if json_file is not None:
        write_text(json_file, document.as_text(found))
    if markdown is not None:
        write_text(markdown, tables.as_markdown(found))
    if chart is not None:
        write_png(chart, draw(found))
    return Told(tables.as_text(found))
