"""Options that several commands have, as Typer declares them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clear_rt.config import TextKind

Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the result goes.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of prose.")]
Crf = Annotated[
    int | None, typer.Option(help="Quality of re-encoded pictures on x264's scale: 0 to 51, less is better.")
]
Bitrate = Annotated[
    str,
    typer.Option(metavar="auto|N[k|M]", help="Bits per second of the video, without --crf; auto: as the source."),
]
SmartCopy = Annotated[
    bool, typer.Option("--smart-copy", help="Encode only groups of pictures with text, copy the packets of the others.")
]
Lossless = Annotated[
    bool, typer.Option("--lossless", help="Encode without loss; --crf and --bitrate are then ignored.")
]
BundleFolder = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="A bundle's folder; the embedded clear-tiny if left out.")
]
MaxMemory = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Memory of the GPU that may be used, such as 8GB or 40GiB; for the engine cuda."),
]
Regions = Annotated[
    list[str] | None,
    typer.Option(
        "--region", help="Where text is removed: auto, full, or x,y,w,h in pixels; several boxes may be given."
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option("--keep-region", metavar="X,Y,W,H", help="What is never changed, as a logo; several may be given."),
]
Text = Annotated[
    TextKind,
    typer.Option("--text", help="What is taken for text: what comes and goes as subtitles do, or every overlay."),
]
Times = Annotated[
    list[str] | None,
    typer.Option("--time", metavar="FROM-TO", help="When text is removed, such as 00:10-12:00; several may be given."),
]
Rate = Annotated[
    str | None,
    typer.Option(metavar="FPS", help="Frames per second of numbered or raw pictures, such as 24000/1001; else 25."),
]
Raw = Annotated[
    str | None,
    typer.Option(metavar="WxH:FORMAT", help="How a file without a header holds its pictures: 1920x1080:yuv420p."),
]
Mask = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A video or picture whose bright pixels are the text; then none is looked for."),
]
