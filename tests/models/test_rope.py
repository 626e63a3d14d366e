"""Rotary positions: the split among the axes, against complex numbers, and the property that makes them positions."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the definition is written in torch: pip install '.[train]'")

from clear_rt.models.rope import axis_pairs, axis_tables, rotate, rotation  # noqa: E402


@pytest.mark.parametrize(
    ("width", "pairs"), [(128, (22, 21, 21)), (64, (12, 10, 10)), (20, (4, 3, 3)), (6, (1, 1, 1)), (2, (1, 0, 0))]
)
def test_pairs_of_a_head_are_split_among_time_rows_and_columns(width, pairs):
    assert axis_pairs(width) == pairs
    assert sum(pairs) == width // 2
    assert [tuple(table.shape) for table in axis_tables(width, 5)] == [(2, 5, n) for n in pairs]


def complex_ref(x, grid):
    """Every pair of adjacent values as a complex number times exp(i * position * frequency), token by token."""
    latents, rows, columns = grid
    pairs = axis_pairs(x.shape[-1])
    angles = []
    for f in range(latents):
        for r in range(rows):
            for c in range(columns):
                places = zip((f, r, c), pairs, strict=True)
                angles.append([place * 10000 ** (-j / n) for place, n in places for j in range(n)])
    turn = torch.polar(torch.ones(len(angles), x.shape[-1] // 2).double(), torch.tensor(angles, dtype=torch.float64))
    z = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(z * turn[None, :, None]).flatten(-2)


@pytest.mark.parametrize("grid", [(1, 1, 1), (3, 1, 5), (2, 7, 3)], ids=str)
@pytest.mark.parametrize("width", [128, 20, 2])
def test_rotation_against_complex_numbers(width, grid):
    tokens = grid[0] * grid[1] * grid[2]
    x = torch.randn(2, tokens, 3, width, dtype=torch.float64)
    turn = rotation(axis_tables(width), *grid)
    assert turn.shape == (2, tokens, width // 2)
    torch.testing.assert_close(rotate(x, turn), complex_ref(x, grid), rtol=1e-12, atol=1e-12)
    narrow = rotate(x.bfloat16(), turn.float())
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.double(), complex_ref(x.bfloat16(), grid), rtol=2**-8, atol=2**-15)


def test_only_the_distance_between_tokens_counts():
    """q . k of tokens as far apart is the same wherever they are, on every axis and for all three at once."""
    grid, width = (4, 5, 6), 128
    turn = rotation(axis_tables(width), *grid)
    q, k = torch.randn(2, 1, 1, 1, width, dtype=torch.float64)
    at = [rotate(x.expand(1, 120, 1, width), turn)[0, :, 0].view(*grid, width) for x in (q, k)]
    for step in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 3, 1)):
        far = at[1][step[0] :, step[1] :, step[2] :]
        near = at[0][: far.shape[0], : far.shape[1], : far.shape[2]]
        products = (near * far).sum(-1)
        torch.testing.assert_close(products, products[:1, :1, :1].expand_as(products), rtol=1e-11, atol=1e-11)
    assert torch.equal(at[0][0, 0, 0], q.flatten())


def test_the_first_position_is_zero_in_every_window_and_the_table_reaches_16k_pixels():
    time, row, column = axis_tables(128)
    assert (time[0, 0] == 1).all()
    assert (time[1, 0] == 0).all()
    assert row.shape[1] == column.shape[1] == 1024 == 16384 // 16
