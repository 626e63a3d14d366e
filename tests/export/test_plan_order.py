"""What is asked of TensorRT, on its way to another process and back."""

from pathlib import Path

import pytest

from clear_rt.export.plan_order import Axes, PlanOrder, Profile

BAND = Axes(rows=12, columns=80, latents=21)


@pytest.mark.parametrize(
    ("axis", "size"), [("rows", 12), ("2*rows", 24), ("16*columns", 1280), ("latents", 21), ("s22", 20_160)]
)
def test_open_axes_have_the_sizes_of_the_window(axis, size):
    assert BAND.size_of(axis) == size


@pytest.mark.parametrize("axis", ["", "2*", "rows + 1", "rows*2"])
def test_an_axis_without_a_name_is_refused(axis):
    with pytest.raises(ValueError, match="expected an axis like rows"):
        BAND.size_of(axis)


def test_an_order_comes_back_as_it_was():
    order = PlanOrder(
        module="tensorrt_rtx",
        graph=Path("a b/step.onnx"),
        plan=Path("ä/step.plan"),
        profiles=(Profile.static(BAND), Profile(Axes(1, 2), Axes(3, 4), Axes(5, 6))),
        capability=89,
        is_here=False,
        level=3,
        workspace_bytes=1 << 33,
    )
    again = PlanOrder.from_json(order.as_json())
    assert (again.graph, again.plan, again.timing_cache) == (order.graph, order.plan, None)
    assert (again.capability, again.level, again.workspace_bytes) == (89, 3, 1 << 33)
    assert tuple(again.profiles) == tuple(order.profiles)
