"""Pull-push against its formula in float64, against the membrane of the CPU path, and what holds for any field."""

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.pull_push import pull_push, pull_push_ref  # noqa: E402
from clear_rt.kernels.pull_push_level import COARSEST_CELLS  # noqa: E402
from clear_rt.membrane import fill  # noqa: E402

# One cell, one row, one column, odd sizes; more cells than one program takes, and a third level.
SHAPES = ((1, 1, 1), (2, 1, 9), (1, 7, 1), (2, 13, 11), (1, 49, 53))
# Rows of 5 of the letters C L E A R.
GLYPHS = """
01110 10000 11111 01110 11110
10001 10000 10000 10001 10001
10000 10000 11110 10001 11110
10000 10000 10000 11111 10100
10001 10000 10000 10001 10010
01110 11111 11111 10001 10001
"""


@pytest.fixture
def holed(draw):
    """A field of a size, normal numbers times 50, and a share of its cells, unknown."""

    def made(*shape, share=0.6):
        field = draw(*shape, scale=50.0)
        field[draw(*shape).abs() > 1.15 * (1 - share)] = torch.nan
        return field

    return made


def text(scale=3, grown=2):
    """Where a word is, bool [H, W]: strokes 3 pixels wide with a rim of 2, as captions have them at 360 rows."""
    letters = torch.tensor([[[int(bit) for bit in glyph] for glyph in row.split()] for row in GLYPHS.split("\n")[1:-1]])
    word = torch.nn.functional.pad(letters, (1, 1)).flatten(1).repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    word = torch.nn.functional.pad(word.float(), (9, 9, 9, 9))[None]
    return torch.nn.functional.max_pool2d(word, 2 * grown + 1, 1, grown)[0] > 0


@pytest.mark.parametrize("corrections", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_its_formula(holed, shape, corrections):
    field = holed(*shape)
    exact = pull_push_ref(field.double(), corrections)
    found = pull_push(field, corrections)
    assert found.dtype == torch.float32
    # A cell is a mean of few numbers: 32 roundings of the largest are more than reach it.
    limit = field.nan_to_num(nan=0.0).abs().amax().double() * 32 * 2.0**-24
    assert ((found.double() - exact).abs() <= limit).all()


@pytest.mark.parametrize("corrections", [0, 2])
def test_known_cells_stay_and_a_constant_is_kept_exactly(holed, corrections):
    field = holed(2, 21, 23)
    known = ~field.isnan()
    assert torch.equal(pull_push(field, corrections)[known], field[known])
    constants = torch.tensor([0.1, -123.4567], device=field.device)[:, None, None].expand_as(field)
    assert torch.equal(pull_push(torch.where(known, constants, torch.nan), corrections), constants)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_without_correction_all_stays_between_the_known_cells(holed, share):
    field = holed(1, 45, 47, share=share)
    found, known = pull_push(field, 0), field[~field.isnan()]
    assert known.min() <= found.min()
    assert found.max() <= known.max()


@pytest.mark.parametrize("corrections", [0, 2])
def test_a_channel_without_anything_known_is_zero_and_does_not_touch_the_other(holed, corrections):
    field = holed(2, 21, 23)
    alone = pull_push(field[:1].clone(), corrections)
    field[1] = torch.nan
    found = pull_push(field, corrections)
    assert (found[1] == 0).all()
    assert torch.equal(found[:1], alone)


def test_one_known_cell_fills_all(device):
    field = torch.full((1, 40, 31), torch.nan, device=device)
    field[0, 17, 30] = 7.3
    assert (pull_push(field) == field[0, 17, 30]).all()


def test_what_lies_around_the_field_is_not_read(holed):
    field = holed(1, 21, 23)
    for poison in (1e30, torch.nan):
        around = torch.full((3, 21, 23), poison, device=field.device)
        around[1:2] = field
        assert torch.equal(pull_push(around[1:2]), pull_push(field))


def test_under_text_it_comes_near_the_membrane(draw, device):
    """Measured: a slow field of 8 +- 6 levels with noise of 1 is met to 0.021 levels rms with two corrections; with
    noise of 20, rougher than a fill leaves it, to 2.5, 0.95 and 0.41 without, with one and two. The bounds are a
    quarter above.
    """
    hole = text()
    rows, columns = (torch.arange(n) for n in hole.shape)
    slow = 8 + 6 * torch.sin(columns / 25) * torch.cos(rows[:, None] / 20)
    for noise, bounds in ((1.0, {2: 0.026}), (20.0, {0: 3.13, 1: 1.19, 2: 0.52})):
        field = slow + noise * draw(*hole.shape).cpu()
        exact = torch.from_numpy(fill(field.numpy(), hole.numpy(), tolerance=1e-4))
        unknown = torch.where(hole, torch.nan, field)[None].to(device)
        for corrections, bound in bounds.items():
            difference = (pull_push(unknown, corrections)[0].cpu() - exact)[hole]
            assert difference.square().mean().sqrt() <= bound


@pytest.mark.parametrize("top", [20, 28, 33, 79])
def test_corrections_converge_in_holes_much_larger_than_letters(top):
    """By the formulas, which are as fast as the holes are large. Where a hole reaches the edge it takes longest."""
    rows, columns = torch.arange(200), torch.arange(320)
    field = 20 * torch.sin(columns / 40) + torch.randn(200, 320, generator=torch.Generator().manual_seed(0))
    hole = (rows[:, None] >= top) & (rows[:, None] < top + 121) & (columns >= 25) & (columns < 300)
    exact = torch.from_numpy(fill(field.numpy(), hole.numpy(), tolerance=1e-5))
    unknown = torch.where(hole, torch.nan, field)[None].double()
    errors = [(pull_push_ref(unknown, corrections)[0] - exact)[hole].square().mean().sqrt() for corrections in range(7)]
    assert errors == sorted(errors, reverse=True)
    assert errors[6] < 0.2 * errors[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda field: field[0], r"expected field \[C, H, W\], got \[5, 6\]"),
        (lambda field: field.half(), "expected field of float32, got float16"),
        (lambda field: field.transpose(1, 2), "stride 1 along axis W"),
        (lambda field: field[:, :, :3], "stride 3 along axis H"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(draw, change, said):
    with pytest.raises(ValueError, match=said):
        pull_push(change(draw(2, 5, 6)))


def test_nothing_in_nothing_out(draw):
    assert pull_push(draw(2, 0, 6)).shape == (2, 0, 6)
    assert pull_push(draw(0, 5, 6)).shape == (0, 5, 6)


def test_the_op_is_complete_for_compile_and_export(holed):
    field = holed(1, 9, 12)
    torch.library.opcheck(pull_push, (field,), test_utils=("test_schema", "test_faketensor"))
    exported = torch.export.export(Filled(), (field,))
    assert torch.equal(exported.module()(field), pull_push(field))


class Filled(torch.nn.Module):
    def forward(self, field):
        return pull_push(field)


@pytest.mark.gpu
def test_of_a_whole_frame_it_is_its_formula_and_the_same_every_time(holed):
    field = holed(2, 1080, 1921)
    assert field[0].numel() > COARSEST_CELLS << 8
    found = pull_push(field)
    limit = field.nan_to_num(nan=0.0).abs().amax() * 32 * 2.0**-24
    assert ((found.double() - pull_push_ref(field.double())).abs() <= limit).all()
    assert all(torch.equal(pull_push(field), found) for _ in range(20))


@pytest.mark.gpu
def test_it_can_be_captured_in_a_graph(holed):
    first, second = holed(2, 137, 641), holed(2, 137, 641)
    pull_push(first)
    slot, graph = first.clone(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = pull_push(slot)
    for field in (second, first):
        slot.copy_(field)
        graph.replay()
        assert torch.equal(found, pull_push(field))
