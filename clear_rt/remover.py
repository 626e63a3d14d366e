"""The conductor: wires frames, prior, regions, contents, matte and composite together. No arithmetic of its own.

Two passes over the file. The first samples it and finds the region runs; the second decodes again and edits only frames
inside a run, so memory does not grow with the clip and a file without text is copied packet by packet. Where the fill
is the model's, a third pass (`leading`) cuts crops ahead of the second.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clear_rt import frames
from clear_rt.bundle import Bundle, open_bundle
from clear_rt.config import RunConfig
from clear_rt.errors import EngineError, InputError
from clear_rt.generate import CropGenerator, fitting
from clear_rt.matting import queue_frames
from clear_rt.outlining import Outlining, opened_outliner
from clear_rt.prior import Prior
from clear_rt.report import Report, Sign, Stopwatch, gpu_notes
from clear_rt.resuming import Resuming
from clear_rt.runtime.device import first_gpu
from clear_rt.runtime.engine import Engine, open_engine
from clear_rt.scan import Scanned, scan
from clear_rt.scan_record import record, recorded
from clear_rt.second_pass import Cleaned, Subject, second_pass
from clear_rt.shapes import Box, Size, working_size
from clear_rt.telling import Progress, untold
from clear_rt.threads import Behind, Stop

UInt8 = npt.NDArray[np.uint8]
# What the first pass found, in the folder of an interrupted run.
_FOUND = "found"
# What finds text, and what follows motion.
_ALWAYS = ("onnxruntime", "opencv-python-headless")
# What computes the networks of an engine beside ONNX Runtime, which most priors are left to.
_LIBRARIES = {"cuda": ("torch", "triton"), "trt": ("tensorrt", "tensorrt-rtx-cu13")}


class Edited(NamedTuple):
    """What the second pass did."""

    frames_changed: int
    encoder: str
    dropped_streams: tuple[str, ...]
    windows: int = 0
    regions_scaled: int = 0
    runs_short: int = 0
    notes: tuple[str, ...] = ()
    why_not_gpu: str | None = None
    frames_copied: int = 0
    frames_resumed: int = 0


class Looked(NamedTuple):
    """A video and what the first pass found in it."""

    info: frames.VideoInfo
    scanned: Scanned


class Remover:
    """One bundle and engine, opened once, for any number of videos; `bundle` and `engine` where they are open already.

    `admit` is shown the picture's size and the boxes that were found in it, and raises where they are too much.

    Raises:
        BundleError, EngineError: as `open_bundle` and `open_engine`; and EngineError where the model's fill is asked
            for and the bundle holds the prior only.
        ConfigError: what was asked of the generator is not in the bundle.
    """

    def __init__(
        self,
        config: RunConfig | None = None,
        *,
        bundle: Bundle | None = None,
        engine: Engine | None = None,
        admit: Callable[[Size, Sequence[Box]], None] | None = None,
    ) -> None:
        self.config, self.admit = config or RunConfig(), admit
        self.bundle = bundle or open_bundle(self.config.bundle)
        fill = self.config.composite.fill
        spec = self.bundle.generator if fill == "model" else None
        if fill == "model" and spec is None:
            raise EngineError(
                f"--fill model: bundle {self.bundle.name} holds the occlusion prior only; use --fill membrane"
            )
        # Opening an engine may take a minute: what does not fit the bundle is refused before.
        fitted = None if spec is None else fitting(spec, self.config.denoise)
        self.engine = engine or open_engine(
            self.config.engine, self.bundle, generates=spec is not None, kernels=self.config.kernels
        )
        self._prior = Prior(self.engine, self.bundle.prior.multiple_px)
        self._generator = None if spec is None else CropGenerator(self.engine, spec, self.config.denoise, fitted)

    def __call__(
        self,
        source: Path,
        target: Path,
        progress: Progress | None = None,
        observe: Callable[[Cleaned], None] | None = None,
    ) -> Report:
        """Remove the subtitles of `source` into `target`, like `remove`; `observe` sees the second pass."""
        begun, watch = time.perf_counter(), Stopwatch()
        tell = progress or untold
        info = frames.with_decoder(frames.probe(source, self.config.read), self.config.read.decoder)
        frames.check_writable(info, target, self.config.write)
        may_copy = frames.copyable(info, target)
        with frames.Work(info.path, target, self._job()) as work:
            scanned = self._scanned(info, work, watch, tell)
            copied = may_copy and not scanned.runs
            if copied:
                with watch.stage("copy"):
                    dropped = frames.copy(info, target)
                edited = Edited(0, "copy", tuple(dropped))
            else:
                edited = self._edit(info, target, scanned, work, watch, tell, observe)
        generator = self._generator
        return Report(
            source=source,
            target=target,
            frames=scanned.frames,
            frames_changed=edited.frames_changed,
            video_copied=copied,
            runs=scanned.runs,
            bundle=self.bundle.name,
            engine=self.engine.name,
            fill=self.config.composite.fill,
            composite=self.config.composite.mode,
            policy=generator.config.policy if generator else None,
            steps=generator.steps if generator else None,
            seed=generator.seed if generator else None,
            windows=edited.windows,
            regions_scaled=edited.regions_scaled,
            runs_short=edited.runs_short,
            notes=edited.notes,
            frames_copied=edited.frames_copied,
            frames_resumed=edited.frames_resumed,
            decoder=info.decoder.name,
            gpu_notes=gpu_notes(decoding=info.decoder.why_not_gpu, encoding=edited.why_not_gpu),
            encoder=edited.encoder,
            dropped_streams=edited.dropped_streams,
            intervals_us=scanned.intervals_us,
            signs=tuple(Sign(*scanned.interval_us(run), run.box) for run in scanned.signs),
            duration_us=scanned.duration_us,
            seconds=time.perf_counter() - begun,
            stage_seconds=watch.seconds,
        )

    def _job(self) -> dict[str, Any]:
        """All that the result depends on besides the input."""
        files = {
            "bundle": self.bundle.folder / "manifest.json",
            "mask": self.config.region.mask,
            "noise": self.config.denoise.noise,
        }
        hashes = {name: None if path is None else _hash_of(path) for name, path in files.items()}
        return hashes | {"config": asdict(self.config), "engine": self._computing()}

    def _computing(self) -> dict[str, str]:
        """What the networks are computed by, as far as results may differ by it."""
        gpu = first_gpu() if self.engine.name != "onnx" else None
        side = None if self._generator is None else getattr(self._generator.side, "kept_as", None)
        libraries = {name: _version_of(name) for name in (*_ALWAYS, *_LIBRARIES.get(self.engine.name, ()))}
        return libraries | {"engine": side or self.engine.name, "GPU": "none" if gpu is None else gpu.name}

    def _subject(self, info: frames.VideoInfo, scanned: Scanned) -> Subject:
        picture = Size(info.width_px, info.height_px)
        outlining = Outlining.of(self.bundle, self._prior, self._outliner, picture, self.config.matte)
        return Subject(info, scanned.runs, self.config, outlining, self._generator, scanned.signs)

    @cached_property
    def _outliner(self) -> Prior | None:
        return opened_outliner(self.bundle)

    def _working(self, info: frames.VideoInfo) -> Size:
        return working_size(info.width_px, info.height_px, self.bundle.prior.short_side_px)

    def look(self, source: Path, progress: Progress | None = None) -> Looked:
        """The first pass alone: where and when there is text in `source`. Raises what calling this raises of it."""
        info = frames.with_decoder(frames.probe(source, self.config.read), self.config.read.decoder)
        scanned = scan(info, self._prior, self._working(info), self.config.region, Stopwatch(), progress or untold)
        return Looked(info, self._admitted(info, scanned))

    def _admitted(self, info: frames.VideoInfo, scanned: Scanned) -> Scanned:
        if scanned.runs and self.admit is not None:
            self.admit(Size(info.width_px, info.height_px), [run.box for run in scanned.runs])
        return scanned

    def _scanned(self, info: frames.VideoInfo, work: frames.Work, watch: Stopwatch, tell: Progress) -> Scanned:
        """What an interrupted run of the same job has found, or what is found now."""
        scanned = recorded(work.load(_FOUND), info.decoder)
        if scanned is None:
            scanned = scan(info, self._prior, self._working(info), self.config.region, watch, tell)
            work.store(_FOUND, record(scanned, info.decoder))
        return self._admitted(info, scanned)

    def cleaned(
        self, source: Path, progress: Progress | None = None, found: Looked | None = None
    ) -> Generator[Cleaned, None, None]:
        """Every frame of `source` with its text removed, as it is made; nothing is written. Close it to stop early.

        `found` is what `look` gave for it, where that was called. Raises what calling this raises, but for what is
        written.
        """
        watch, tell, stop = Stopwatch(), progress or untold, Stop()
        info, scanned = found or self.look(source, tell)
        with second_pass(self._subject(info, scanned), watch, tell, stop) as second, stop:
            for seen in second.cleaned:
                if second.contents is not None:
                    second.contents.tell()
                tell("removing", seen.source.index + 1, scanned.frames)
                yield seen

    def _edit(
        self,
        info: frames.VideoInfo,
        target: Path,
        scanned: Scanned,
        work: frames.Work,
        watch: Stopwatch,
        tell: Progress,
        observe: Callable[[Cleaned], None] | None,
    ) -> Edited:
        """Second pass: frames are edited on threads of their own, told of, shown and handed to the encoder on this."""
        stop = Stop()
        edits = frames.Edits(scanned.frames, tuple((run.start_frame, run.stop_frame) for run in scanned.runs))
        with (
            frames.SegmentedWriter(info, target, self.config.write, work, edits=edits) as writer,
            Behind(watch.timed(writer.write, "encode"), queue_frames(info)) as behind,
            second_pass(
                self._subject(info, scanned),
                watch,
                tell,
                stop,
                resuming := Resuming(work, writer, scanned.frames),
                all_frames=observe is not None,
            ) as (first_frame, cleaned, contents),
            stop,
        ):
            changed = resuming.changed_before(first_frame)
            for seen in watch.each(cleaned, "wait for results"):
                if contents is not None:
                    contents.tell()
                changed += seen.result is not seen.source
                if resuming.ends_at(seen.source.index):
                    resuming.keep_changed(seen.source.index, changed)
                with watch.stage("wait for encoder"):
                    behind.put(seen.result)
                if observe is not None:
                    with watch.stage("observe"):
                        observe(seen)
                tell("removing", seen.source.index + 1, scanned.frames)
        edited = Edited(
            changed,
            writer.encoder,
            tuple(writer.dropped_streams),
            notes=tuple(note for note in (work.discarded, writer.why_not_smart_copy) if note),
            why_not_gpu=writer.why_not_gpu,
            frames_copied=writer.frames_copied,
            frames_resumed=writer.frames_resumed,
        )
        if contents is None:
            return edited
        return edited._replace(
            windows=contents.windows,
            regions_scaled=contents.regions_scaled,
            runs_short=contents.runs_short,
            notes=edited.notes + contents.notes,
        )


def _version_of(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def _hash_of(path: Path) -> str:
    """Raises InputError where the file cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); give a file that can") from None


def remove(
    source: Path | str,
    target: Path | str,
    config: RunConfig | None = None,
    progress: Progress | None = None,
) -> Report:
    """Remove the burned-in subtitles of the video `source` and write the result to `target`.

    `progress(phase, done, total or None)` is called from this thread, also while it waits for others; it counts frames,
    and in the phase "generating" steps of the model's windows. Everything besides the text is kept: frame count,
    timestamps, size, pixel format, colour description, every other stream. The target appears at the end.

    Raises:
        ClearError: one of its kinds, with a sentence that says what was expected, what was found and what to do. Then
            nothing was written, and a file that stood at `target` before still stands.
    """
    return Remover(config)(Path(source), Path(target), progress)
