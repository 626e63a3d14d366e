"""What the bench says of a fill, in the manifest of the bundle that made it."""

import json

import pytest

from training.measured import last_document, measured, write


def means(look, gain, loss, clips=6):
    detail = {"gains_db": {f"clip {i}": gain for i in range(clips)}}
    return [
        {"case": f"mean {look}", "metric": "gain inside mask", "value": gain, "detail": detail},
        {"case": f"mean {look}", "metric": "worst loss", "value": loss, "detail": {}},
    ]


def document(*rows, benchmark="fill"):
    return json.dumps({"benchmark": benchmark, "environment": {"commit": "abc"}, "rows": rows})


WHOLE = document(*means("outline", 0.234, 0.181), *means("random", -0.5, 1.0))


def test_the_last_document_goes_into_the_manifest_and_the_rest_stays(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"a": 1, "training": {"prior": {}, "generator": {"b": 2}}}))
    (tmp_path / "rows").write_text(
        "\n".join(("a table", document(*means("outline", 9.0, 0.0)), WHOLE, '{"benchmark": "x"}'))
    )
    write(tmp_path, tmp_path / "rows")
    found = json.loads((tmp_path / "manifest.json").read_text())
    assert found["a"] == 1
    assert found["training"]["generator"] == {
        "b": 2,
        "measured": {
            "command": "python -m benchmarks.bench_fill",
            "commit": "abc",
            "looks": {
                "outline": {"gain_db": 0.23, "worst_loss_db": 0.18},
                "random": {"gain_db": -0.5, "worst_loss_db": 1.0},
            },
        },
    }


@pytest.mark.parametrize(
    "rows", [means("outline", 0.2, 0.0), [*means("outline", 0.2, 0.0, clips=1), *means("random", 0.2, 0.0)]]
)
def test_figures_of_a_part_of_the_clips_are_no_quality(rows):
    with pytest.raises(SystemExit, match=r"expected 6 clips with look .* without options"):
        measured(json.loads(document(*rows)))


@pytest.mark.parametrize("lines", [[], [document(benchmark="quality")]])
def test_without_figures_it_says_what_to_run(lines):
    with pytest.raises(SystemExit, match="bench_fill"):
        last_document(lines)


@pytest.mark.parametrize("manifest", [None, "{", "{}", '{"training": {"prior": {}}}'])
def test_a_bundle_without_a_generator_is_a_sentence(tmp_path, manifest):
    (tmp_path / "rows").write_text(WHOLE)
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(SystemExit, match=r"expected a bundle of training\.tiny"):
        write(tmp_path, tmp_path / "rows")
