"""The command line: parse, make a config, call, report. Every error ends in one sentence and an exit status.

Importing this module is cheap: what the commands need they import inside `main`, where an interrupt is caught.
"""

# Annotations are not postponed here: Typer could not look up names that are imported inside a function.

import io
import os
import signal
import sys
import threading
import time
from contextlib import redirect_stdout
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self, TextIO

from clear_rt.errors import ClearError, ExitStatus, OutputError
from clear_rt.version import __version__

if TYPE_CHECKING:
    from rich.table import Table
    from typer import Typer

    from clear_rt.config import RegionConfig
    from clear_rt.report import Report

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
# `timeout` and process managers signal the process and then its group: the second signal must not stop the cleaning up.
_AGAIN_AFTER_S = 5.0


class _Told(NamedTuple):
    """What a command has to say at its end, and what is lost where that cannot be printed."""

    text: str
    subject: str = "the report"


def _write(stream: TextIO | None, text: str) -> None:
    """`text` and a line feed, out at once; characters that the stream's encoding lacks are escaped. Raises OSError."""
    if stream is not None:
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()


def _say(told: _Told) -> None:
    try:
        _write(sys.stdout, told.text)
    except OSError as error:
        raise OutputError(
            f"{told.subject} could not be printed ({error.strerror or error}); check where standard output goes"
        ) from error


def _warn(*sentences: str) -> None:
    try:
        for sentence in sentences:
            _write(sys.stderr, f"clear-rt: {sentence}")
    except OSError:
        # Nobody can be told. The exit status remains.
        return


def _region(text: str) -> "RegionConfig":
    from clear_rt.config import RegionConfig
    from clear_rt.errors import ConfigError
    from clear_rt.shapes import Box

    if text in ("auto", "full"):
        return RegionConfig(mode="auto" if text == "auto" else "full")
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--region must be auto, full or x,y,w,h in pixels, got {text!r}") from None
    if min(x, y) < 0 or min(width, height) < 1:
        raise ConfigError(f"--region x,y,w,h needs x, y >= 0 and w, h >= 1, got {text!r}")
    return RegionConfig(mode="fixed", box=Box(x, y, width, height))


def _summary(report: "Report") -> str:
    speed = f"{report.seconds:.1f} s, {report.fps:.1f} fps"
    if report.video_copied:
        return f"{report.target}: no text found in {report.frames} frames, every stream copied as it is; {speed}"
    return (
        f"{report.target}: text removed from {report.frames_changed} of {report.frames} frames, "
        f"{len(report.runs)} region run{'s' * (len(report.runs) != 1)}, fill {report.fill}, {report.encoder}; {speed}"
    )


def _figure(value: float | str | None, digits: int) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.{digits}f}"


def _drawn(table: "Table") -> str:
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=Console().width).print(table)
    return text.getvalue().removesuffix("\n")


def _scores(found: dict[str, Any]) -> str:
    from rich.table import Table

    table = Table("", "PSNR dB", "inside", "outside", "SSIM", "text found", box=None)
    for name in ("source", "result"):
        score = found[name]
        if score is not None:
            decibels = (_figure(score["psnr"][key], 2) for key in ("frame_db", "inside_db", "outside_db"))
            table.add_row(name, *decibels, _figure(score["ssim"], 4), _figure(score["frames_with_text"], 3))
    table.add_row("clean", "", "", "", "", _figure(found["clean_frames_with_text"], 3))
    changed = _figure(found["pixels_changed_outside"], 0)
    return f"{_drawn(table)}\n{found['frames']} frames; mask: {found['mask']}; pixels changed outside it: {changed}"


def _facts(facts: dict[str, dict[str, Any]]) -> str:
    from rich.table import Table

    tables = []
    for heading, rows in facts.items():
        table = Table("name", "value", title=heading, title_justify="left", show_header=False, box=None)
        for name, value in rows.items():
            table.add_row(name, str(value))
        tables.append(_drawn(table))
    return "\n".join(tables)


def _add_version(app: "Typer") -> None:
    import typer

    def show(wanted: bool) -> None:
        if wanted:
            typer.echo(f"clear-rt {__version__}")
            raise typer.Exit

    @app.callback()
    def clear_rt(
        version: Annotated[
            bool, typer.Option("--version", callback=show, is_eager=True, help="Print the version and exit.")
        ] = False,
    ) -> None:
        """Removes burned-in subtitles from video, without masks."""


# What several commands take; mypy has to see `Annotated[type, ...]` in the commands themselves.
def _output() -> Any:  # noqa: ANN401 - Typer's own type for options
    import typer

    return typer.Option("--output", "-o", metavar="FILE", help="Where the result goes.")


def _json() -> Any:  # noqa: ANN401
    import typer

    return typer.Option("--json", help="Print one JSON document instead of prose.")


def _crf() -> Any:  # noqa: ANN401
    import typer

    return typer.Option(help="Quality of re-encoded pictures on x264's scale: 0 to 51, less is better.")


def _lossless() -> Any:  # noqa: ANN401
    import typer

    return typer.Option("--lossless", help="Encode without loss; --crf is then ignored.")


def _bundle() -> Any:  # noqa: ANN401
    import typer

    return typer.Option("--bundle", metavar="DIR", help="A bundle's folder; the embedded clear-tiny if left out.")


def _add_remove(app: "Typer") -> None:
    import json
    from contextlib import ExitStack
    from pathlib import Path

    from typer import Argument, Option

    from clear_rt.config import CompositeConfig, CompositeMode, EngineName, FillMode, RunConfig, WriteConfig
    from clear_rt.progress import bar

    run, look, write = RunConfig(), CompositeConfig(), WriteConfig()

    @app.command()
    def remove(
        video: Annotated[Path, Argument(metavar="VIDEO", help="The video to read; it is never changed.")],
        output: Annotated[Path, _output()],
        region: Annotated[str, Option(help="Where text is removed: auto, full, or x,y,w,h in pixels.")] = "auto",
        composite: Annotated[CompositeMode, Option(help="How a fill meets the source.")] = look.mode,
        fill: Annotated[FillMode, Option(help="What fills the place of the text.")] = look.fill,
        engine: Annotated[EngineName, Option(help="What runs the networks.")] = run.engine,
        bundle: Annotated[Path | None, _bundle()] = None,
        seed: Annotated[int, Option(help="Seed of the generative fill.")] = run.seed,
        crf: Annotated[int, _crf()] = write.crf,
        lossless: Annotated[bool, _lossless()] = False,
        preview: Annotated[Path | None, Option(metavar="FILE.png", help="A few frames: source, map, result.")] = None,
        compare: Annotated[Path | None, Option(metavar="FILE.mp4", help="Source and result side by side.")] = None,
        as_json: Annotated[bool, _json()] = False,
    ) -> _Told:
        """Find the subtitles of VIDEO and remove them."""
        config = RunConfig(
            region=_region(region),
            composite=CompositeConfig(mode=composite, fill=fill),
            write=WriteConfig(crf=crf, lossless=lossless),
            engine=engine,
            bundle=bundle,
            seed=seed,
        )
        from clear_rt.preview import watching
        from clear_rt.remover import Remover

        remover = Remover(config)
        short_side_px = remover.bundle.prior.short_side_px
        with ExitStack() as stack:
            observe = stack.enter_context(watching(video, output, preview, compare, short_side_px))
            tell = stack.enter_context(bar(quiet=as_json))
            report = remover(video, output, tell, observe)
        _warn(*report.dropped_streams)
        text = json.dumps(report.as_dict()) if as_json else _summary(report)
        return _Told(text, f"{output} is complete, but the report on it")


def _add_burn(app: "Typer") -> None:
    from pathlib import Path

    from typer import Argument, Option

    from clear_rt.burn.config import BurnConfig, Position, ScriptName, StyleName
    from clear_rt.config import WriteConfig
    from clear_rt.progress import bar

    look, coding = BurnConfig(), WriteConfig()

    @app.command()
    def burn(
        clean: Annotated[Path, Argument(metavar="CLEAN", help="A video without subtitles.")],
        output: Annotated[Path, _output()],
        subtitles: Annotated[
            Path | None, Option(metavar="FILE", help="Lines from .srt or .ass; random if left out.")
        ] = None,
        script: Annotated[ScriptName, Option(help="Script of random lines.")] = look.script,
        style: Annotated[StyleName, Option(help="Look of the lines.")] = look.style,
        position: Annotated[Position, Option(help="Edge of the picture.")] = look.position,
        size: Annotated[float | None, Option(help="Font size as a share of the picture's height.")] = None,
        font: Annotated[Path | None, Option(metavar="FILE", help="A font instead of those found by script.")] = None,
        mask: Annotated[Path | None, Option(metavar="MASK.mkv", help="Write the true mask as gray video.")] = None,
        seed: Annotated[int, Option(help="Seed of lines and look.")] = look.seed,
        crf: Annotated[int, _crf()] = coding.crf,
        lossless: Annotated[bool, _lossless()] = False,
    ) -> _Told:
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
        _warn(*report.dropped_streams)
        if report.missing_characters:
            _warn(f"no font at hand shows {report.missing_characters}; give --font FILE")
        return _Told(
            f"{output}: {report.captions} captions on {report.frames_with_text} of {report.frames} frames",
            f"{output} is complete, but the report on it",
        )


def _add_eval(app: "Typer") -> None:
    import json
    from pathlib import Path

    from typer import Argument, Option

    from clear_rt.progress import bar

    @app.command(name="eval")
    def evaluate(
        result: Annotated[Path, Argument(metavar="RESULT", help="A video that text was removed from.")],
        clean: Annotated[Path, Option(metavar="CLEAN", help="The same video before text was burned in.")],
        source: Annotated[Path | None, Option(metavar="SUBTITLED", help="The subtitled video.")] = None,
        mask: Annotated[Path | None, Option(metavar="MASK.mkv", help="The mask that `burn --mask` wrote.")] = None,
        every_frames: Annotated[int, Option(help="Look for text and measure SSIM on every n-th frame.")] = 10,
        as_json: Annotated[bool, _json()] = False,
    ) -> _Told:
        """Compare RESULT with CLEAN: PSNR over the frame, inside and outside the text; text found before and after."""
        from clear_rt.metrics.evaluate import evaluate as measure

        with bar(quiet=as_json) as tell:
            found = measure(
                result,
                clean,
                source,
                mask,
                every_frames=every_frames,
                progress=lambda done: tell("comparing", done, None),
            ).as_dict()
        return _Told(json.dumps(found) if as_json else _scores(found))


def _add_info(app: "Typer") -> None:
    import json
    from pathlib import Path

    from typer import Argument

    @app.command()
    def info(
        video: Annotated[Path | None, Argument(metavar="[VIDEO]", help="A video to describe.")] = None,
        bundle: Annotated[Path | None, _bundle()] = None,
        as_json: Annotated[bool, _json()] = False,
    ) -> _Told:
        """Say what is installed, what the bundle holds and, with VIDEO, what it is made of."""
        from clear_rt.inventory import inventory

        facts = inventory(video, bundle)
        return _Told(json.dumps(facts) if as_json else _facts(facts))


def _app() -> "Typer":
    import typer

    app = typer.Typer(name="clear-rt", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    for add in (_add_version, _add_remove, _add_burn, _add_eval, _add_info):
        add(app)
    return app


def _run(arguments: list[str]) -> int:
    """Run one command and print what it says. Raises what the command raises, and OutputError from printing."""
    from typer.exceptions import TyperException

    app, typers_own = _app(), io.StringIO()
    try:
        # Typer prints the help by itself and ends the process where that fails.
        with redirect_stdout(typers_own):
            result: Any = app(args=arguments or ["--help"], standalone_mode=False, prog_name="clear-rt")
    except TyperException as error:
        _warn(error.format_message())
        return ExitStatus.USAGE
    if isinstance(result, _Told):
        _say(result)
    elif typers_own.getvalue():
        _say(_Told(typers_own.getvalue().removesuffix("\n"), "the answer"))
    if not arguments:
        return ExitStatus.USAGE
    return result if isinstance(result, int) else ExitStatus.OK


class _Signals:
    """Makes SIGINT and SIGTERM raise KeyboardInterrupt, so that both clean up alike; `first` is the one that came.

    Does nothing outside the main thread, nor to a signal that is ignored or handled otherwise.
    """

    def __init__(self) -> None:
        self.first: signal.Signals | None = None
        self._deaf_until_s = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def _caught(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if now_s < self._deaf_until_s:
            return
        self.first = self.first or signal.Signals(number)
        self._deaf_until_s = now_s + _AGAIN_AFTER_S
        raise KeyboardInterrupt

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _WORDS:
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _stopped(number: signal.Signals) -> int:
    _warn(f"{_WORDS[number]}; an output appears complete or not at all")
    return 128 + number


def _hush(stream: TextIO | None) -> None:
    """Lead what cannot be written to /dev/null: the interpreter flushes once more at exit and would complain."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status. CLEAR_RT_DEBUG=1 shows where an error came from.

    In the main thread, SIGINT and SIGTERM end the command in order, with 130 and 143.
    """
    signals = _Signals()
    try:
        with signals:
            status = _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        status = ExitStatus.INTERRUPTED
    except Exception as error:
        if signals.first is not None:
            # Extension modules turn an interrupt of their import into an error of their own.
            status = ExitStatus.INTERRUPTED
        elif isinstance(error, ClearError) and not os.environ.get("CLEAR_RT_DEBUG"):
            _warn(str(error))
            status = error.status
        else:
            raise
    finally:
        _hush(sys.stdout)
        _hush(sys.stderr)
    # Typer turns an interrupt inside a command into this status by itself, and says nothing.
    return _stopped(signals.first or signal.SIGINT) if status == ExitStatus.INTERRUPTED else status


if __name__ == "__main__":
    sys.exit(main())
