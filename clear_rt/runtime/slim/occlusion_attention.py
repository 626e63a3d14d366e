"""`kernels/occlusion_attention.py` from its cubins: attention with one bias per key, numbers and contract as there.

On GPUs that fetch whole blocks the other kernel, `occlusion_attention_hopper`, runs for arrays that suit it. It needs
memory for its descriptors, which is made once.
"""

from __future__ import annotations

from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.contract import HALVES, Contract, blocks
from clear_rt.runtime.slim.kernels import Kernels
from clear_rt.runtime.slim.launch import Value
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.slim.stream import Stream

OP = "occlusion_attention"
HOPPER = "occlusion_attention_hopper"


class OcclusionAttention:
    """Attention by the kernels of a bundle; calls follow each other on one stream, as they share memory."""

    def __init__(self, kernels: Kernels, memory: Memory, stream: Stream) -> None:
        self._kernels, self._scratch = kernels, None
        wanted = [kernels.launch_of(name).scratch_bytes for name in kernels.names if name.split("-")[0] == HOPPER]
        if wanted:
            self._scratch = memory.empty(stream, (max(wanted) * kernels.multiprocessors,), "u8")

    def __call__(
        self,
        stream: Stream,
        q: DeviceArray,
        k: DeviceArray,
        v: DeviceArray,
        bias: DeviceArray | None,
        out: DeviceArray,
        lse: DeviceArray | None = None,
    ) -> None:
        """q [B, N, H, D], k and v [B, M, H, D] of one half -> attention in out [B, N, H, D], dense, of that dtype.

        bias [B, H, M] fp32, finite or -inf for a key that is not seen; None is attention without one. lse fp32
        [B, H, N] gets the log of the sum of exp(logits). All strides of q, k, v and bias but the innermost may be any
        that the kernel takes: those of q, k and v in multiples of 16.

        Raises ValueError for other shapes or dtypes, no keys, or gaps; EngineError where the bundle has no such kernel,
        as for heads of another width, or for pointers or strides off their alignment.
        """
        _check(q, k, v, bias, out, lse)
        if not out.size:
            return
        batches, queries, heads, width = q.shape
        kind = "-".join([q.dtype, f"d{width}"] + ["bias"] * (bias is not None) + ["lse"] * (lse is not None))
        arguments = _operands(q, k, v, bias, out, lse) | {"queries": queries, "keys": k.shape[1]}
        if self._suits_hopper(f"{HOPPER}-{kind}", q, k, v, bias):
            sizes: dict[str, Value] = {"batches": batches, "heads": heads}
            grid = (self._kernels.multiprocessors, 1, 1)
            self._kernels.launch(stream, f"{HOPPER}-{kind}", grid, arguments | sizes, self._scratch)
            return
        name = f"{OP}-{kind}"
        block = self._kernels.launch_of(name).constant("BLOCK_QUERIES")
        self._kernels.launch(stream, name, (blocks(queries, block), heads, batches), arguments)

    def _suits_hopper(
        self, name: str, q: DeviceArray, k: DeviceArray, v: DeviceArray, bias: DeviceArray | None
    ) -> bool:
        """Whether there is one, a full block of keys for it, and strides for its descriptors.

        A bias whose rows are no multiples of 4 keys goes to the other kernel: here nobody copies it.
        """
        if name not in self._kernels.names or k.shape[1] < self._kernels.launch_of(name).constant("BLOCK_KEYS"):
            return False
        return all(_fits_descriptor(array) for array in (q, k, v, bias) if array is not None)


def _fits_descriptor(array: DeviceArray) -> bool:
    """Descriptors want the address and the strides of rows in steps of 16 bytes, and no row twice."""
    steps = [stride * array.itemsize for stride in array.strides[:-1]]
    return min(steps) > 0 and not any(step % 16 for step in (array.pointer, *steps))


def _operands(
    q: DeviceArray,
    k: DeviceArray,
    v: DeviceArray,
    bias: DeviceArray | None,
    out: DeviceArray,
    lse: DeviceArray | None,
) -> dict[str, Value]:
    """The arguments that both kernels begin with: pointers, and the strides of what may have gaps."""
    arrays = {"q": q, "k": k, "v": v, "bias": bias, "out": out, "lse": lse}
    found: dict[str, Value] = {f"{name}_ptr": array for name, array in arrays.items() if array is not None}
    for name, array in (("q", q), ("k", k), ("v", v)):
        axes = zip(("batch", "token", "head"), array.strides, strict=False)
        found |= {f"{name}_{axis}_stride": stride for axis, stride in axes}
    batch, head = (0, 0) if bias is None else bias.strides[:2]
    return found | {"bias_batch_stride": batch, "bias_head_stride": head}


def _check(
    q: DeviceArray,
    k: DeviceArray,
    v: DeviceArray,
    bias: DeviceArray | None,
    out: DeviceArray,
    lse: DeviceArray | None,
) -> None:
    contract = Contract(OP)
    contract.array("q", q, "B N H D", HALVES)
    contract.array("k", k, "B M H D", (q.dtype,))
    contract.array("v", v, "B M H D", (q.dtype,))
    contract.array("out", out, "B N H D", (q.dtype,), dense_axes=4)
    contract.written("out", out)
    if bias is not None:
        contract.array("bias", bias, "B H M", ("fp32",))
    if lse is not None:
        contract.array("lse", lse, "B H N", ("fp32",), dense_axes=3)
        contract.written("lse", lse)
    if not contract.sizes["M"]:
        raise ValueError(f"{OP}: expected at least one key, got none")
