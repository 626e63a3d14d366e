"""What does not fit a kernel is refused before launch, by name."""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.contract import HALVES, Contract  # noqa: E402


def test_the_first_tensor_that_names_an_axis_fixes_it():
    contract = Contract("op")
    contract.tensor("x", torch.zeros(2, 5, 3), "B N 3")
    assert contract.sizes == {"B": 2, "N": 5}
    contract.tensor("y", torch.zeros(5), "N")
    with pytest.raises(ValueError, match=r"op: expected z \[B = 2, M, N = 5\], got \[2, 7, 6\]"):
        contract.tensor("z", torch.zeros(2, 7, 6), "B M N")


@pytest.mark.parametrize("shape", [(5,), (2, 5, 4), (2, 5, 3, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"op: expected x \[B, N, 3\], got "):
        Contract("op").tensor("x", torch.zeros(shape), "B N 3")


def test_other_dtypes_and_devices_are_refused():
    contract = Contract("op")
    with pytest.raises(ValueError, match="op: expected x of float16 or bfloat16, got float32"):
        contract.tensor("x", torch.zeros(2), "N", HALVES)
    contract.tensor("x", torch.zeros(2), "N")
    with pytest.raises(ValueError, match="op: expected y on cpu, got it on meta"):
        contract.tensor("y", torch.zeros(2, device="meta"), "N")


def test_gaps_are_refused_within_as_many_axes_as_are_asked_for():
    wide = torch.zeros(4, 6, 8)
    Contract("op").tensor("x", wide[:, ::2], "A B C")
    with pytest.raises(
        ValueError, match=r"stride 8 along axis B, got strides \(48, 16, 1\); call .contiguous\(\) on it"
    ):
        Contract("op").tensor("x", wide[:, ::2], "A B C", dense_axes=2)
    with pytest.raises(ValueError, match="stride 1 along axis C"):
        Contract("op").tensor("x", wide[..., ::2], "A B C")


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (1, 1, 1)])
def test_nothing_has_no_gaps(shape):
    Contract("op").tensor("x", torch.zeros(shape), "A B C", dense_axes=3)
