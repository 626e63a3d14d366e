"""ONNX graphs of a bundle behind the protocol of TensorRT's engines: on the memory of `host_driver`, or on a GPU's by
copies there and back.
"""

import ctypes
from math import prod

import numpy as np
import onnxruntime

from clear_rt.errors import EngineError
from clear_rt.runtime.onnx_session import open_session
from clear_rt.runtime.slim.copies import copy
from clear_rt.runtime.slim.dtypes import DTYPES
from clear_rt.runtime.trt.executable import Form, check_bound

NAMES = {"tensor(float)": "fp32", "tensor(int64)": "i64", "tensor(uint8)": "u8"}


def array_at(array):
    """What a DeviceArray without gaps describes, as numpy's array."""
    kind = np.dtype(DTYPES[array.dtype].host)
    memory = (ctypes.c_uint8 * (prod(array.shape) * kind.itemsize)).from_address(array.pointer)
    return np.frombuffer(memory, kind).reshape(array.shape)


class OnnxNetworks:
    """As `Networks`. Those of roles in `refusing` cannot be captured; the prior takes pictures up to `most_pixels`.

    `opened_roles` are the roles of executables so far, `runs` counts what they did by role.
    """

    def __init__(self, bundle, driver, refusing=(), most_pixels=1 << 40):
        self._bundle, self._driver = bundle, driver
        self._refusing, self._most_pixels = refusing, most_pixels
        self._sessions, self.opened_roles, self.runs = {}, [], {}

    def takes(self, role, shapes):
        return prod(shapes["rgb"][1:3]) <= self._most_pixels if role == "prior" else True

    def opened(self, role, shapes):
        if not all(all(size > 0 for size in shape) for shape in shapes.values()):
            raise EngineError(f"engine {role}: expected sizes that the bundle was built for")
        self.opened_roles.append(role)
        return self._executable(role, shapes)

    def _executable(self, role, shapes):
        return OnnxExecutable(self, role, self._session(role), shapes, self._driver, role in self._refusing)

    def _session(self, role):
        if role not in self._sessions:
            graph = self._bundle.prior if role == "prior" else self._bundle.generator.graphs[role]
            self._sessions[role] = open_session(graph.path, graph.graph, getattr(graph, "data", None))
        return self._sessions[role]


class OnnxExecutable:
    """The prior takes float32 here, as its engine does."""

    def __init__(self, owner, role, session, shapes, driver, refuses):
        self._owner, self._role, self._session, self._driver, self._refuses = owner, role, session, driver, refuses
        self.given = {
            one.name: Form(tuple(shapes[one.name]), "fp32" if role == "prior" else NAMES[one.type])
            for one in session.get_inputs()
        }
        zeros = {name: np.zeros(form.shape, DTYPES[form.dtype].host) for name, form in self.given.items()}
        self.made = {name: Form(found.shape, "u8" if role == "prior" else "fp32")
                     for name, found in self._computed(zeros).items()}  # fmt: skip
        self._arrays = None

    def bind(self, arrays):
        check_bound(self._role, self, arrays)
        assert self._arrays is None, "addresses are set once"
        self._arrays = {name: array_at(array) for name, array in arrays.items()}
        self._held = dict(arrays)

    def run(self, stream):
        if stream.is_capturing and self._refuses:
            raise EngineError(f"TensorRT does not let the engine {self._role} be captured")
        self._driver.enqueue(stream.handle, self._work)

    def _work(self):
        self._owner.runs[self._role] = self._owner.runs.get(self._role, 0) + 1
        given = {name: self._arrays[name].copy() for name in self.given}
        for name in self.made:
            # An output that is an input of the same run, too, would be gone before it is read.
            self._arrays[name].view(np.uint8)[...] = 0xFF
        for name, found in self._computed(given).items():
            self._arrays[name][...] = found

    def _computed(self, given):
        if self._role == "prior":
            given = {name: array.astype(np.uint8) for name, array in given.items()}
        names = [one.name for one in self._session.get_outputs()]
        feeds = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in given.items()}
        found = self._session.run_with_ort_values(names, feeds)
        return {name: value.numpy() for name, value in zip(names, found, strict=True)}


class CopiedNetworks(OnnxNetworks):
    """The same wherever arrays lie: inputs are copied to the host and outputs back, which cannot be captured."""

    def __init__(self, bundle, device):
        super().__init__(bundle, None)
        self._device = device

    def _executable(self, role, shapes):
        return CopiedExecutable(self, role, self._session(role), shapes, self._device)


class CopiedExecutable(OnnxExecutable):
    """As `Executable`."""

    def __init__(self, owner, role, session, shapes, device):
        super().__init__(owner, role, session, shapes, None, True)
        self._crossing = device.crossing

    def bind(self, arrays):
        check_bound(self._role, self, arrays)
        self._held = dict(arrays)

    def run(self, stream):
        if stream.is_capturing:
            raise EngineError(f"{self._role} is computed on the host")
        given = {name: self._crossing.to_host(stream, self._held[name]) for name in self.given}
        for name, found in self._computed(given).items():
            copy(stream, self._held[name], self._crossing.to_device(stream, np.ascontiguousarray(found)))
