"""Many videos: which they are, where results go, and that one which fails stops none of the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clear_rt.batch import Done, Job, is_batch, jobs_of, run_all
from clear_rt.cli import main
from clear_rt.errors import ConfigError, InputError


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "in"
    for name in ("b.mp4", "a.MKV", "notes.txt", ".hidden.mp4", "deep/c d.mov", "deep/er/ünï\n.webm"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def places(jobs, output):
    return [(str(job.source.name), str(job.target.relative_to(output))) for job in jobs]


def test_a_folder_is_its_videos_in_order(folder, tmp_path):
    output = tmp_path / "out"
    found = jobs_of([folder], output, recursive=False, job_file=None)
    assert places(found, output) == [("a.MKV", "a.MKV"), ("b.mp4", "b.mp4")]
    found = jobs_of([folder], output, recursive=True, job_file=None)
    assert [job.target.relative_to(output) for job in found] == [job.source.relative_to(folder) for job in found]
    assert len(found) == 4


def test_patterns_that_no_shell_has_expanded(folder, tmp_path):
    found = jobs_of([folder / "*.mp4"], tmp_path, recursive=False, job_file=None)
    assert [job.source.name for job in found] == ["b.mp4"]
    (folder / "[x].mp4").write_bytes(b"")
    (one,) = jobs_of([folder / "[x].mp4"], tmp_path, recursive=False, job_file=None)
    assert one.source.name == "[x].mp4"
    assert not is_batch([folder / "[x].mp4"], None)
    assert is_batch([folder / "*.mkv"], None)


def test_a_job_file_names_sources_and_results(tmp_path):
    listed = tmp_path / "jobs.txt"
    listed.write_text('# mine\nx/a.mp4\n\n{"input": "b.mp4", "output": "c/d.mkv"}\n', encoding="utf-8")
    found = jobs_of([], tmp_path / "out", recursive=False, job_file=listed)
    assert [(str(job.source), job.target.name) for job in found] == [("x/a.mp4", "a.mp4"), ("b.mp4", "d.mkv")]
    with pytest.raises(ConfigError, match=r"line 2 of .* names no result"):
        jobs_of([], None, recursive=False, job_file=listed)


@pytest.mark.parametrize("line", ["{", '{"output": "x"}', '{"input": 1}', '{"input": "a", "crf": "3"}'])
def test_a_job_that_is_none_is_refused_by_its_line(tmp_path, line):
    listed = tmp_path / "jobs.txt"
    listed.write_text(f"fine.mp4\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 2 of"):
        jobs_of([], tmp_path, recursive=False, job_file=listed)


def test_two_results_in_one_place_are_refused(folder, tmp_path):
    (folder / "deep" / "b.mp4").write_bytes(b"")
    with pytest.raises(ConfigError, match="would both be"):
        jobs_of([folder / "b.mp4", folder / "deep" / "b.mp4"], tmp_path / "out", recursive=False, job_file=None)


def test_where_there_are_no_videos_it_says_so(folder, tmp_path):
    empty = tmp_path / "empty"
    (empty / "below").mkdir(parents=True)
    with pytest.raises(InputError, match="give --recursive"):
        jobs_of([empty], tmp_path, recursive=False, job_file=None)
    with pytest.raises(InputError, match="expected videos"):
        jobs_of([folder / "*.avi"], tmp_path, recursive=False, job_file=None)


def test_one_that_fails_stops_none_of_the_others(tmp_path):
    jobs = [Job(tmp_path / f"{i}.mp4", tmp_path / "out" / "below" / f"{i}.mp4", Path(f"{i}.mp4")) for i in range(5)]
    jobs[3].target.parent.mkdir(parents=True)
    jobs[3].target.write_bytes(b"")
    told = []

    def remove(job):
        if job is jobs[1]:
            raise InputError("1.mp4 is damaged; copy it again")
        if job is jobs[2]:
            raise KeyError("a defect")
        return job

    found = run_all(jobs, remove, skip_existing=True, told=told.append)
    assert told == found
    assert [done.outcome for done in found] == ["done", "failed", "failed", "skipped", "done"]
    assert found[1].failure == "1.mp4 is damaged; copy it again"
    assert "2.mp4 failed unexpectedly (KeyError" in found[2].failure
    assert isinstance(found[0], Done)


def test_an_interrupt_ends_all(tmp_path):
    def remove(job):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all([Job(tmp_path / "a.mp4", tmp_path / "b.mp4", Path("b.mp4"))], remove, skip_existing=False)


def test_the_command_line_counts_what_failed(subtitled, tmp_path, capsys):
    root = tmp_path / "in"
    (root / "deep").mkdir(parents=True)
    (root / "deep" / "good one.mp4").symlink_to(subtitled)
    (root / "bad.mp4").write_bytes(b"no video")
    (root / "worse.mkv").write_bytes(b"")
    status = main(["remove", str(root), "-o", str(tmp_path / "out"), "--recursive", "--json"])
    printed = capsys.readouterr()
    assert status == 2
    found = {entry["source"].rsplit("/", 1)[1]: entry for entry in json.loads(printed.out)}
    assert {name: entry["outcome"] for name, entry in found.items()} == {
        "bad.mp4": "failed", "worse.mkv": "failed", "good one.mp4": "done",
    }  # fmt: skip
    assert printed.err.count("clear-rt: ") >= 2
    assert "Traceback" not in printed.err
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file()) == ["good one.mp4"]
    status = main(["remove", str(root / "deep"), "-o", str(tmp_path / "out" / "deep"), "--skip-existing"])
    assert status == 0
    assert "1 skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["remove"], "expected a video"),
        (["remove", "a.mp4"], "--output FILE"),
        (["remove", "a.mp4", "b.mp4"], "--output DIR"),
        (["remove", "a.mp4", "b.mp4", "-o", "out", "--preview", "p.png"], "show one video"),
    ],
)
def test_what_is_missing_is_said(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_numbered_pictures_go_to_folders_of_their_own(tmp_path):
    """Results of two sequences whose pictures are called the same do not meet."""
    sources = [tmp_path / "a" / "%04d.png", tmp_path / "b" / "%04d.png"]
    found = jobs_of(sources, tmp_path / "out", recursive=False, job_file=None)
    assert [job.target.relative_to(tmp_path / "out") for job in found] == [Path("a/%04d.png"), Path("b/%04d.png")]
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match=r"numbered pictures are named as .*in/%05d\.png"):
        jobs_of([tmp_path / "in"], tmp_path, recursive=True, job_file=None)
