"""What is kept of weights follows them wherever they go, and nothing is made twice."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.kept import Kept  # noqa: E402


class Counted:
    """A sum of tensors, and how often it was made."""

    def __init__(self):
        self.made = 0

    def __call__(self, *tensors):
        self.made += 1
        return sum(tensors) + 0


@pytest.fixture
def norm(device):
    return torch.nn.LayerNorm(4).to(device)


def test_the_same_weights_are_asked_once(norm):
    counted = Counted()
    kept = Kept(counted)
    first = kept.of(norm.weight, norm.bias)
    assert kept.of(norm.weight, norm.bias) is first
    assert first.tolist() == [1, 1, 1, 1]
    assert not first.requires_grad
    assert counted.made == 1


def replaced(norm):
    norm.load_state_dict({"weight": torch.full((4,), 3.0), "bias": torch.zeros(4)}, assign=True)


def changed(norm):
    with torch.no_grad():
        norm.weight.fill_(3)


def loaded(norm):
    norm.load_state_dict({"weight": torch.full((4,), 3.0), "bias": torch.zeros(4)})


def narrowed_behind_its_back(norm):
    norm.weight.data = (3 * norm.weight.data).to(torch.float16)


def given_another_memory(norm):
    norm.weight.data = 3 * norm.weight.data


@pytest.mark.parametrize("change", [replaced, changed, loaded, narrowed_behind_its_back, given_another_memory])
def test_other_values_are_noticed(norm, change):
    kept = Kept(Counted())
    assert kept.of(norm.weight).tolist() == [1, 1, 1, 1]
    change(norm)
    found = kept.of(norm.weight)
    assert found.tolist() == [3, 3, 3, 3]
    assert found.dtype == norm.weight.dtype


def test_memory_that_is_given_again_is_not_taken_for_the_old_one(device):
    """An allocator likes to hand out what has just been freed: the address alone says nothing."""
    kept = Kept(Counted())
    for value in range(20):
        source = torch.full((64,), float(value), device=device)
        assert kept.of(source)[0] == value
        del source


def test_any_of_several_sources_counts(device):
    kept, fixed = Kept(Counted()), torch.ones(2, device=device)
    assert kept.of(fixed, torch.ones(2, device=device)).tolist() == [2, 2]
    assert kept.of(fixed, torch.zeros(2, device=device)).tolist() == [1, 1]
    assert kept.of(fixed).tolist() == [1, 1]


def test_a_view_of_the_same_memory_is_another_tensor(device):
    kept, whole = Kept(Counted()), torch.arange(6.0, device=device).reshape(2, 3)
    assert kept.of(whole[:1]).tolist() == [[0, 1, 2]]
    assert kept.of(whole).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert kept.of(whole.view(3, 2).T).tolist() == [[0, 2, 4], [1, 3, 5]]
    assert kept.of(whole.view(3, 2)).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_inference_tensors_are_kept_as_they_are(device):
    counted = Counted()
    kept = Kept(counted)
    with torch.inference_mode():
        source = torch.ones(2, device=device)
        first = kept.of(source)
    assert kept.of(source) is first
    assert counted.made == 1


def test_a_copy_of_the_keeper_serves_the_copied_weights(norm):
    kept = Kept(Counted())
    kept.of(norm.weight)
    other, copied = copy.deepcopy((norm, kept))
    with torch.no_grad():
        other.weight.fill_(3)
    assert copied.of(other.weight).tolist() == [3, 3, 3, 3]
    assert kept.of(norm.weight).tolist() == [1, 1, 1, 1]


@pytest.mark.gpu
def test_a_capture_keeps_nothing_and_takes_what_was_kept(norm):
    counted = Counted()
    kept, graph = Kept(counted), torch.cuda.CUDAGraph()
    out = torch.empty(4, device="cuda")
    with torch.cuda.graph(graph):
        out.copy_(kept.of(norm.weight))
    assert kept.of(norm.weight).tolist() == [1, 1, 1, 1]
    assert counted.made == 2
    graph.replay()
    assert out.tolist() == [1, 1, 1, 1]
    later, out = torch.cuda.CUDAGraph(), torch.empty(4, device="cuda")
    with torch.cuda.graph(later):
        out.copy_(kept.of(norm.weight))
    later.replay()
    assert out.tolist() == [1, 1, 1, 1]
    assert counted.made == 2
