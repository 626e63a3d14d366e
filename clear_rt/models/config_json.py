"""Model configurations as JSON objects: exactly the fields of a frozen dataclass, each of its declared type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from clear_rt.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Config = TypeVar("_Config", bound="DataclassInstance")


def as_json(config: DataclassInstance) -> dict[str, Any]:
    """The fields as JSON values; `from_json` undoes it, also after a trip through JSON text."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}


def from_json(kind: type[_Config], values: object) -> _Config:
    """The configuration that `as_json` described: int, float, bool, str and tuples of one of them.

    Raises ConfigError that names every missing and unknown field, or the first of another type.
    """
    known = [field.name for field in fields(kind)]
    if not isinstance(values, Mapping):
        raise ConfigError(f"{kind.__name__} must be a JSON object, got {values!r}")
    missing, unknown = [n for n in known if n not in values], [n for n in values if n not in known]
    if missing or unknown:
        raise ConfigError(
            f"{kind.__name__} holds exactly {', '.join(known)}; missing: {', '.join(missing) or 'none'}, "
            f"unknown: {', '.join(unknown) or 'none'}"
        )
    types = get_type_hints(kind)
    return kind(**{name: _value(f"{kind.__name__}.{name}", types[name], values[name]) for name in known})


def _value(field: str, kind: type, value: object) -> object:
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{field} must be a list, got {value!r}")
        return tuple(_value(f"{field}[{i}]", get_args(kind)[0], item) for i, item in enumerate(value))
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"{field} must be of type {kind.__name__}, got {value!r}")
    if isinstance(value, float) and not isfinite(value):
        raise ConfigError(f"{field} must be finite, got {value!r}")
    return value
