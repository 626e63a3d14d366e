"""A document for people: a table of stages and one of totals, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from clear_rt.bench.document import Document, machine_of


class Grid(NamedTuple):
    """A table: what stands above every column, and the rows; the first `names` columns are no figures."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    names: int = 1

    def as_text(self) -> str:
        """Aligned columns, numbers to the right."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        drawn = (
            "  ".join(
                cell.ljust(width) if i < self.names else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )
        return "\n".join([self.title, *drawn])

    def as_markdown(self) -> str:
        rules = tuple("---" if i < self.names else "---:" for i in range(len(self.header)))
        lines = (f"| {' | '.join(line)} |" for line in (self.header, rules, *self.rows))
        return "\n".join([f"### {self.title}", "", *lines])


def figure(value: float | None, digits: int = 3) -> str:
    """So many significant digits, without an exponent; a dash for None."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    return f"{float(text):.0f}" if "e" in text or abs(value) >= 10**digits else text


def as_text(document: Document) -> str:
    """What is printed."""
    grids = "\n\n".join(grid.as_text() for grid in grids_of(document))
    return "\n".join([*_about(document), "", grids, "", *_notes(document)])


def as_markdown(document: Document) -> str:
    """One document, to be put beside others."""
    grids = "\n\n".join(grid.as_markdown() for grid in grids_of(document))
    about = "\n".join(f"- {line}" for line in [*_about(document), *_notes(document)])
    return f"## clear-rt bench\n\n{about}\n\n{grids}\n"


def grids_of(document: Document) -> list[Grid]:
    """Totals of all profiles, baselines beside them where there are any, then the stages of each."""
    compared = [_baselines(document)] if document.get("baselines") else []
    return [_totals(document), *compared, *(_stages(profile) for profile in document["profiles"])]


def _totals(document: Document) -> Grid:
    header = ("profile", "size", "window", "new frames", "steps", "network fps", "end to end fps",
              "first frame s", "delay at 25 fps s", "peak MB", "GPU peak MB")  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for profile in document["profiles"]:
        window, memory = profile["window"], profile["memory"]
        rows.append(
            (
                profile["profile"],
                "x".join(map(str, profile["size"])),
                f"{window['latents']}/{window['overlap_latents']}",
                str(window["new_frames"]),
                str(profile["steps"]),
                figure(profile["network"]["fps"]),
                figure(profile["end_to_end"].get("fps")),
                figure(profile["network"]["first_frame_s"]),
                figure(profile["latency"]["at_fps"]["25"]["total_s"]),
                figure(_megabytes(memory["process_peak_bytes"]), 4),
                figure(_megabytes(memory["gpu_peak_bytes"]), 4),
            )
        )
    return Grid("Totals (network fps: new frames over the networks of a steady window)", header, rows)


def _baselines(document: Document) -> Grid:
    header = ("profile", "baseline", "attention", "step ms", "encode s", "decode s", "network fps", "GPU reserved MB",
              "ours is faster by")  # fmt: skip
    rows: list[tuple[str, ...]] = [
        (
            row["profile"],
            row["baseline"],
            row.get("attention", "-"),
            figure(1000 * row["step_s"] if "step_s" in row else None),
            figure(row.get("encode_s")),
            figure(row.get("decode_s")),
            figure(row.get("fps")),
            figure(_megabytes(row.get("gpu_reserved_bytes")), 4),
            "-" if row.get("ratio") is None else f"{row['ratio']:.2f}",
        )
        for row in document["baselines"]
    ]
    return Grid(
        "Baselines: diffusers' own networks on the same GPU, at the same size and window", header, rows, names=3
    )


def _stages(profile: dict[str, Any]) -> Grid:
    header = ("stage", "per", "count", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "warm-up ms", "ms per new frame",
              "TFLOP/s", "of matrix", "of copy")  # fmt: skip
    rows = []
    for name, stage in profile["stages"].items():
        times = (figure(1000 * stage[f"p{percent}_s"]) for percent in (50, 90, 95, 99))
        rows.append(
            (
                name,
                stage["per"],
                str(stage["count"]),
                *times,
                figure(1000 * max(stage["warmup_s"]) if stage["warmup_s"] else None),
                figure(ms_per_frame(profile, name)),
                figure(stage.get("tflop_per_s")),
                _share(stage.get("share_of_matrix")),
                _share(stage.get("share_of_copy")),
            )
        )
    return Grid(f"{profile['profile']}: stages (warm-up: the slowest call before those that count)", header, rows)


def ms_per_frame(profile: dict[str, Any], name: str) -> float:
    """Milliseconds that a stage adds to every new frame: the mean of its calls, as often as a frame needs them."""
    stage, new_frames = profile["stages"][name], profile["window"]["new_frames"]
    calls = stage["calls_per_window"] / new_frames if "calls_per_window" in stage else 1
    return float(1000 * stage["mean_s"] * calls)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _megabytes(value: int | None) -> float | None:
    return None if value is None else value / 1e6


def _about(document: Document) -> Iterator[str]:
    environment, bundle, ceilings = document["environment"], document["bundle"], document["ceilings"]
    cold = document["cold"]
    yield f"{machine_of(document)}; commit {environment['commit'] or 'unknown'}; {document['time']}"
    yield (
        f"bundle {bundle['name']} ({bundle['parameters'] / 1e6:.1f} M parameters), engine {document['engine']}, "
        f"{document['precision']}"
    )
    rates = ", ".join(f"{name} {figure(rate)} TFLOP/s" for name, rate in ceilings["matrix_tflops"].items())
    yield f"ceilings of {ceilings['device']}: matrix product {rates}; copy {figure(ceilings['copy_gb_per_s'])} GB/s"
    parts = "; ".join(f"{name.removesuffix('_s').replace('_', ' ')} {figure(value)} s" for name, value in cold.items())
    yield f"cold start: {parts}"
    if document["graphs"]:
        graphs = document["graphs"]
        yield f"CUDA graphs: {graphs['count']}, in {figure(_megabytes(graphs['reserved_bytes']), 4)} MB that they share"


def _notes(document: Document) -> Iterator[str]:
    if document["not_counted"]:
        yield document["not_counted"]
    for failed in document.get("out_of_memory", ()):
        yield f"{failed['profile']}: out of memory: {failed['reason']}"
    for row in document.get("baselines", ()):
        if "not_measured" in row:
            yield f"{row['profile']}: baseline {row['baseline']} not measured: {row['not_measured']}"
    for profile in document["profiles"]:
        name = profile["profile"]
        yield from (f"{name}: {note}" for note in profile["notes"])
        if "left_out" in profile["end_to_end"]:
            yield f"{name}: end to end left out: {profile['end_to_end']['left_out']}"
        quality = profile["quality"]
        if "not_measured" in quality:
            yield f"{name}: quality not measured: {quality['not_measured']}"
        else:
            psnr = "equal" if quality["psnr_db"] is None else f"{quality['psnr_db']:.2f} dB"
            rms = f"velocity off by {quality['velocity_relative_rms']:.2e} (relative RMS)"
            yield f"{name}: PSNR {psnr} to {quality['reference']}, SSIM {figure(quality['ssim'], 4)}, {rms}"
