"""What torch allocates while something runs: every tensor that an operation returns, as long as anybody holds it."""

from __future__ import annotations

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Allocations(TorchDispatchMode):
    """`peak`: the most bytes at once of storages that came into being since the block was entered.

    What an operation needs inside and gives back is not seen; that is what kernels of our own leave out, too.
    """

    def __init__(self):
        super().__init__()
        self.alive, self.peak = 0, 0
        self._known = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        for given in tree_leaves((args, kwargs)):
            if isinstance(given, torch.Tensor):
                self._known.add(given.untyped_storage()._cdata)
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage):
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._gone, key, storage.nbytes())

    def _gone(self, key, size):
        self._known.discard(key)
        self.alive -= size
