"""One tree of errors and the exit status that each of them ends the command line with."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """What `clear-rt` returns to the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INPUT = 3
    OUTPUT = 4
    BUNDLE = 5
    ENGINE = 6
    WEIGHTS = 7
    INTERRUPTED = 130
    TERMINATED = 143


class ClearError(Exception):
    """Base of every error that a user can cause or cure: one sentence: what was expected, what found, what to do."""

    status = ExitStatus.FAILED


class ConfigError(ClearError):
    """An option or a combination of options that cannot be honoured."""

    status = ExitStatus.USAGE


class InputError(ClearError):
    """The input is missing, unreadable, truncated or holds no picture we can process."""

    status = ExitStatus.INPUT


class OutputError(ClearError):
    """The output cannot be written: permissions, space, container, or it is the input itself."""

    status = ExitStatus.OUTPUT


class BundleError(ClearError):
    """A bundle is missing, incomplete, of another format, or does not match its hashes."""

    status = ExitStatus.BUNDLE


class EngineError(ClearError):
    """The engine asked for is not installed, not in the bundle, or failed while running."""

    status = ExitStatus.ENGINE


class WeightsError(ClearError):
    """Weights are missing, unreadable, of another model, or do not fit the configuration they were given for."""

    status = ExitStatus.WEIGHTS
