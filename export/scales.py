"""What calibration found, as a file that can be given again instead of calibrating."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clear_rt.errors import ConfigError, OutputError

FORMAT = 1
# Of the normal numbers of float32.
LEAST, LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127
_AGAIN = "calibrate again, or give the file of this model"


@dataclass(frozen=True, slots=True)
class Scales:
    """The largest absolute value of every linear's input, by the linear's name; of it follows the scale of FP8.

    Weights need none: their scales are worked out of them. Raises ConfigError unless all are positive float32 numbers.
    """

    input_amax: Mapping[str, float]

    def __post_init__(self) -> None:
        bad = next((name for name, amax in self.input_amax.items() if not LEAST <= amax <= LARGEST), None)
        if bad is not None:
            raise ConfigError(
                f"expected a positive finite largest input of {bad}, found {self.input_amax[bad]}; "
                "calibrate on other clips, or on weights that are whole"
            )

    def of(self, names: Iterable[str]) -> dict[str, float]:
        """The amax of the linears of these names. Raises ConfigError unless every one is there."""
        wanted = list(names)
        missing = [name for name in wanted if name not in self.input_amax]
        if missing:
            raise ConfigError(
                f"expected scales of {len(wanted)} linears, found {len(wanted) - len(missing)} of them and none of "
                f"{missing[0]}: they belong to another model; {_AGAIN}"
            )
        return {name: self.input_amax[name] for name in wanted}

    def text(self) -> str:
        """As JSON, the same for the same numbers, whatever order they came in."""
        return json.dumps({"format": FORMAT, "input_amax": dict(self.input_amax)}, indent=2, sort_keys=True) + "\n"


def write_scales(scales: Scales, path: Path) -> None:
    """Raises OutputError where the file cannot be written; then what stood there before still stands."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(6)}")
    try:
        partial.write_text(scales.text(), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} could not be written ({error.strerror or error}); free some space or choose another file"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def read_scales(path: Path, names: Iterable[str]) -> Scales:
    """The scales of a model whose calibrated linears have these names: all of them, and no others.

    Raises ConfigError where the file cannot be read, is no file of scales, or is another model's.
    """
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--scales {path} cannot be read ({error.strerror or error}); {_AGAIN}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"--scales {path}: expected JSON, found none; {_AGAIN}") from None
    found = _amax(path, described)
    wanted = set(names)
    missing, strange = sorted(wanted - set(found)), sorted(set(found) - wanted)
    if missing or strange:
        raise ConfigError(
            f"--scales {path}: expected the {len(wanted)} linears of this model, found {len(wanted) - len(missing)} of "
            f"them and {len(strange)} others (such as {(missing + strange)[0]}); {_AGAIN}"
        )
    return Scales(found)


def _amax(path: Path, described: Any) -> dict[str, float]:  # noqa: ANN401 - any JSON
    if not isinstance(described, dict) or set(described) != {"format", "input_amax"}:
        raise ConfigError(f"--scales {path}: expected an object of format and input_amax alone; {_AGAIN}")
    if type(described["format"]) is not int or described["format"] != FORMAT:
        raise ConfigError(f"--scales {path}: expected format {FORMAT}, found {described['format']!r}; {_AGAIN}")
    amax = described["input_amax"]
    if not isinstance(amax, dict):
        raise ConfigError(
            f"--scales {path}: expected input_amax to be an object, found {type(amax).__name__}; {_AGAIN}"
        )
    for name, value in amax.items():
        if type(value) not in (int, float) or not LEAST <= value <= LARGEST:
            raise ConfigError(
                f"--scales {path}: expected a positive finite number for {name}, found {value!r:.40}; {_AGAIN}"
            )
    return {name: float(value) for name, value in amax.items()}
