"""What runs one network of a bundle: all that the `trt` engine knows of TensorRT, or of what stands for it in tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from clear_rt.errors import EngineError
from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.stream import Stream

Shapes = Mapping[str, Sequence[int]]


class Form(NamedTuple):
    """Of an input or output: its shape, and its type by our name of it."""

    shape: tuple[int, ...]
    dtype: str


class Executable(Protocol):
    """A network for inputs of one size, on arrays that are given once and stay where they are.

    Executables of one `Networks` and one stream share memory: they run one after the other.
    """

    @property
    def given(self) -> Mapping[str, Form]:
        """Inputs by name."""
        ...

    @property
    def made(self) -> Mapping[str, Form]:
        """Outputs by name."""
        ...

    def bind(self, arrays: Mapping[str, DeviceArray]) -> None:
        """Every input and output by name, dense and of its form. Raises EngineError for others."""
        ...

    def run(self, stream: Stream) -> None:
        """Begins to compute outputs from inputs. Raises EngineError where that fails or cannot be captured."""
        ...


class Networks(Protocol):
    """The networks of a bundle by role, as in `clear_rt.plans`."""

    def takes(self, role: str, shapes: Shapes) -> bool:
        """Whether the network of a role was built for inputs of these shapes."""
        ...

    def opened(self, role: str, shapes: Shapes) -> Executable:
        """One more executable of a role. Raises EngineError where there is none for these shapes."""
        ...


def check_bound(role: str, executable: Executable, arrays: Mapping[str, DeviceArray]) -> None:
    """Raises EngineError unless `arrays` are those of the executable, for whoever implements `bind`."""
    forms = {**executable.given, **executable.made}
    for name in forms.keys() | arrays.keys():
        array, form = arrays.get(name), forms.get(name)
        found = None if array is None else Form(array.shape, array.dtype)
        if array is None or found != form or not array.is_dense:
            raise EngineError(
                f"engine {role}: expected {name} {_said(form)} without gaps, got {_said(found)}; build the bundle again"
            )


def _said(form: Form | None) -> str:
    return "nothing" if form is None else f"{form.dtype} {[*form.shape]}"
