"""What a trainer has learned so far, and whether two of them learned the same."""

from __future__ import annotations

import torch


def state(trainer):
    return {
        "model": trainer.model.state_dict(),
        "average": trainer.average.state_dict(),
        "optimiser": trainer.optimiser.state_dict()["state"],
    }


def assert_equal(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    else:
        assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))
