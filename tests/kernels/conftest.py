"""Where kernels are tried: on a GPU, or in Triton's interpreter (tests/conftest.py)."""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")


@pytest.fixture
def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def draw(device):
    """Normal numbers of a shape, in the dtype asked for; the same in every run."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape, dtype=torch.float32, scale=1.0):
        return (scale * torch.randn(shape, generator=generator)).to(device, dtype)

    return drawn
