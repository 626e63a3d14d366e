"""The weights of an ONNX graph stored as fp16. ONNX Runtime widens them as it loads the graph, not at every step."""

from __future__ import annotations

import numpy as np
import onnx_ir

from clear_rt.export.halves import LARGEST

# Operators whose second input is a weight.
_WEIGHTED = frozenset({"MatMul", "Gemm", "Conv"})


def halve_graph(model: onnx_ir.Model) -> int:
    """Store the weights of products and convolutions as fp16 where none is beyond 65,504, in place; returns how many.

    The same tensors as `halves.halve_state` takes, so that engines keep agreeing.
    """
    graph = model.graph
    weights = [value for value in graph.initializers.values() if _is_weight(value)]
    for value in weights:
        assert value.const_value is not None
        name, half = str(value.name), onnx_ir.tensor(value.const_value.numpy().astype(np.float16))
        stored = onnx_ir.Value(
            name=f"{name}_half", shape=value.shape, type=onnx_ir.TensorType(half.dtype), const_value=half
        )
        widened = onnx_ir.node("Cast", [stored], attributes={"to": onnx_ir.DataType.FLOAT})
        onnx_ir.convenience.replace_all_uses_with(value, widened.outputs[0])
        del graph.initializers[name]
        widened.outputs[0].name = name
        graph.register_initializer(stored)
        graph.insert_before(graph[0], [widened])
    return len(weights)


def _is_weight(value: onnx_ir.Value) -> bool:
    if value.const_value is None or value.dtype != onnx_ir.DataType.FLOAT or not value.uses():
        return False
    if any(use.node.op_type not in _WEIGHTED or use.idx != 1 for use in value.uses()):
        return False
    return float(np.abs(value.const_value.numpy()).max(initial=0)) <= LARGEST
