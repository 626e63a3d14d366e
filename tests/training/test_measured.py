"""What the bench says of a fill, in the manifest of the bundle that made it."""

import json

import pytest

from training.measured import last_document, measured


def row(case, metric, value):
    return {"case": case, "metric": metric, "value": value}


def document(benchmark, *rows):
    return json.dumps({"benchmark": benchmark, "environment": {"commit": "abc"}, "rows": rows})


def test_the_means_of_every_look_of_the_last_document():
    old = document("fill", row("mean outline", "gain inside mask", 9.0))
    new = document(
        "fill",
        row("zh goldengate outline", "gain inside mask", 3.0),
        row("mean outline", "gain inside mask", 0.234),
        row("mean outline", "worst loss", 0.181),
        row("mean box", "gain inside mask", -0.5),
    )
    found = measured(last_document(["a line of the table", old, new, document("quality", row("x", "y", 0))]))
    assert found["commit"] == "abc"
    assert found["looks"] == {
        "outline": {"gain_inside_mask_db": 0.23, "worst_loss_db": 0.18},
        "box": {"gain_inside_mask_db": -0.5},
    }


@pytest.mark.parametrize("lines", [[], [document("fill")], [document("quality", row("x", "y", 0))]])
def test_without_figures_it_says_what_to_run(lines):
    with pytest.raises(SystemExit, match="bench_fill"):
        last_document(lines)
