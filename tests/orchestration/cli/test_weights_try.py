"""``rbr weights try``: other margins move weights, and nothing is written."""

import json

import pandas as pd
import pytest

from orchestration.cli.weights import try_, with_margins
from rbr.errors import RBRError
from rbr.reward.fit import fit_response_type
from rbr.rules.compiled import write_compiled
from tests.fakes import ranked_comparisons

KIND = "hard_refusal"


@pytest.fixture
def project(context, rules, made_of):
    """A project with graded comparisons of one response type, and weights fitted to them."""
    frames = {
        split: pd.DataFrame(ranked_comparisons(rules, KIND, split))
        for split in ("train", "validation", "eval")
    }
    folder = made_of("graded_comparisons")
    for split, frame in frames.items():
        frame.to_parquet(folder / f"{split}.parquet", index=False)
    options, seed = context.settings.weights, context.settings.seed
    fit = fit_response_type(frames, KIND, rules, options, seed)
    report = {KIND: {"l2": fit.l2, "pair_error": fit.pair_error}}
    texts = {"weights.json": json.dumps({"weights": {KIND: fit.weights}})}
    made_of("fitted_weights", texts | {"report.json": json.dumps(report)})
    write_compiled(made_of("rules"), rules, "head")
    return context.root


def tried(project, capsys, **options):
    try_(**{"margin": None, "l2": None, "as_json": True, "root": project, **options})
    return json.loads(capsys.readouterr().out)[KIND]


def test_the_same_margins_move_nothing(project, capsys):
    found = tried(project, capsys)
    assert all(old == pytest.approx(new, abs=1e-6) for old, new in found["weights"].values())
    assert found["pair_error"][0] == found["pair_error"][1]


def test_another_margin_or_l2_moves_weights_and_writes_nothing(project, capsys):
    before = {path: path.read_bytes() for path in (project / "data").rglob("*.json")}
    for options in ({"margin": ["5"]}, {"margin": [f"{KIND}=5"]}, {"l2": [3.0]}):
        found = tried(project, capsys, **options)
        assert any(abs(old - new) > 1e-3 for old, new in found["weights"].values()), options
    assert {path: path.read_bytes() for path in (project / "data").rglob("*.json")} == before


def test_the_table_names_what_moved_most_first(project, capsys):
    try_(margin=["5"], l2=None, as_json=False, root=project)
    shown = capsys.readouterr().out
    moved = [line.split("│")[-2].strip() for line in shown.splitlines() if line.startswith("│")]
    sizes = [abs(float(text)) for text in moved]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0
    assert "error on held-out pairs" in shown


def test_a_margin_is_of_all_of_a_type_or_of_a_pair(rules):
    assert {rule.margin for rule in with_margins(rules, ["2"]).reward.values()} == {2.0}
    one = with_margins(rules, [f"{KIND}=3"]).reward
    assert one[KIND].margin == 3 and one["comply"] == rules.reward["comply"]
    pair = with_margins(rules, [f"{KIND}:ideal>disallowed=4"])
    assert pair.margins(KIND)["ideal", "disallowed"] == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope=1", "--margin 'nope' is not one of"),
        ("0", "'0' is no number above 0"),
        (f"{KIND}=nan", "'nan' is no number above 0"),
        (f"{KIND}:disallowed>ideal=1", "not BETTER>WORSE of ideal > bad"),
    ],
)
def test_a_margin_that_is_none_is_refused(rules, text, message):
    with pytest.raises(RBRError, match=message):
        with_margins(rules, [text])
