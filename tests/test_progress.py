"""The bar as a terminal sees it, drawn into a string; nothing anywhere else."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from clear_rt.progress import bar, batch_bar


class Terminal:
    """A terminal of 120 columns that remembers, and a clock that moves only when told to."""

    def __init__(self):
        self._text = io.StringIO()
        self.console = Console(file=self._text, force_terminal=True, width=120, color_system=None)
        self.now_s = 100.0

    def clock_s(self):
        return self.now_s

    def lines(self):
        """What stands there at the end, without escape sequences."""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._text.getvalue())
        # The last drawing is what remains: as many lines as there are phases.
        return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.fixture
def terminal():
    return Terminal()


def test_phases_counts_and_rate(terminal):
    with bar(console=terminal.console, clock_s=terminal.clock_s) as tell:
        for done in range(11):
            tell("looking for text", done, 40)
            terminal.now_s += 0.1
        tell("removing", 3, 40)
    first, second = terminal.lines()[-2:]
    assert first.startswith("looking for text")
    assert "10/40 frames" in first
    assert "10.0 fps" in first
    assert second.startswith("removing")
    assert "3/40 frames" in second
    assert "- fps" in second


def test_remaining_time(terminal):
    with bar(console=terminal.console, clock_s=terminal.clock_s) as tell:
        for done in range(0, 101, 10):
            tell("removing", done, 1300)
            terminal.now_s += 1.0
    assert terminal.lines()[-1].endswith("0:02:00")


def test_steps_of_the_model_are_no_frames(terminal):
    """A minute each, which is more than rates are averaged over elsewhere."""
    with bar(console=terminal.console, clock_s=terminal.clock_s) as tell:
        for done in range(11):
            tell("generating", done, 30)
            terminal.now_s += 60.0
    line = terminal.lines()[-1]
    assert "10/30 steps" in line
    assert "60.0 s/step" in line
    assert "f" not in line
    assert line.endswith("0:20:00")


def test_an_unknown_number_of_frames(terminal):
    with bar(console=terminal.console, clock_s=terminal.clock_s) as tell:
        tell("burning", 7, None)
    assert "7/? frames" in terminal.lines()[-1]


def test_silent_where_told_and_where_there_is_no_terminal(terminal, capfd):
    with bar(quiet=True, console=terminal.console) as tell:
        tell("removing", 1, 2)
    file = io.StringIO()
    with bar(console=Console(file=file, force_terminal=False)) as tell:
        tell("removing", 1, 2)
    with bar() as tell:
        tell("removing", 1, 2)
    assert (terminal.lines(), file.getvalue(), capfd.readouterr()) == ([], "", ("", ""))


def test_all_videos_and_the_one_at_hand(terminal):
    """Three of 100, an unknown number, which counts as 200, and 300 frames: after 100 of 600 a sixth of the time."""
    with batch_bar(
        ["a", "b", "c"], lambda: [100, None, 300], console=terminal.console, clock_s=terminal.clock_s
    ) as whole:
        for done in range(0, 101, 10):
            whole.tell("looking for text", done, None)
            terminal.now_s += 0.5
        whole.tell("looking for text", 100, 100)
        for done in range(0, 101, 10):
            whole.tell("removing", done, 100)
            terminal.now_s += 1.0
        whole.end()
        whole.tell("looking for text", 7, 200)
        terminal.console.print("end")
    text = "\n".join(terminal.lines())
    assert [line for line in text.splitlines() if line in ("1/3 a", "2/3 b", "3/3 c")] == ["1/3 a", "2/3 b"]
    whole_line, looking = terminal.lines()[-2:]
    assert "1/3 videos" in whole_line
    assert looking.startswith("looking for text")
    assert "7/200 frames" in looking


def test_the_time_all_videos_will_take(terminal):
    """Half of the frames of either pass, 10 s each: 20 s are gone of 40, whichever video they belong to."""
    with batch_bar(["a", "b"], lambda: [50, 50], console=terminal.console, clock_s=terminal.clock_s) as whole:
        for phase in ("looking for text", "removing"):
            for done in range(0, 51, 5):
                whole.tell(phase, done, 50)
                terminal.now_s += 1.0
        whole.end()
    assert terminal.lines()[-1].endswith(("0:00:21", "0:00:22"))


def test_all_videos_where_nobody_looks(capfd):
    """Then nobody opens them to count frames, either."""
    with batch_bar(["a"], lambda: pytest.fail("asked for frames")) as whole:
        whole.tell("removing", 1, 2)
        whole.end()
    assert capfd.readouterr() == ("", "")
