"""``rbr reward evaluate`` on models that say fixed things."""

import json

import pytest

from orchestration.cli.reward_evaluate import chosen_rows, evaluate, with_types
from rbr.data.ranked import rewardbench_2
from rbr.data.rows import Prompt
from rbr.errors import DataError, Place, RBRError
from rbr.files import read_rows
from rbr.rules.compiled import write_compiled
from tests.fakes import FixedGrader, FixedScorer, drawn_weights

PAIRS = [
    {
        "id": str(n),
        "prompt": f"Question {n // 2}?",
        "chosen": [f"Right {n}."],
        "rejected": [f"Wrong {n}.", "Wronger.", "Wrongest."],
        "subset": "Safety" if n % 2 else "Focus",
    }
    for n in range(12)
]


@pytest.fixture
def project(context, made_of, rules, monkeypatch):
    weights = {"weights.json": json.dumps({"weights": drawn_weights(rules)})}
    for key in ("base_model", "grader", "helpful_reward_model", "rules"):
        made_of(key)
    made_of("fitted_weights", weights)
    write_compiled(context.path("rules"), rules, "head")
    grader = FixedGrader(rules.proposition_names)
    monkeypatch.setattr("rbr.grading.load.make_grader", lambda *arguments: grader)
    monkeypatch.setattr("rbr.training.reward_model.RewardModel", lambda folder: FixedScorer())
    return context


@pytest.fixture
def judged(project, tmp_path, capsys):
    def run(rows=PAIRS, as_json=True, **options):
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        given = {"source_format": None, "response_type": None, "out": None, "limit": None}
        given |= {"skip_bad": False, "split": "test", "as_json": as_json, "root": project.root}
        evaluate(str(path), **{**given, **options})
        printed = capsys.readouterr()
        return json.loads(printed.out) if as_json else printed.out

    return run


def test_json_has_each_subset_with_intervals(judged):
    report = judged(response_type="hard_refusal")
    assert (report["format"], report["rows"], report["left_out"]) == ("rewardbench-2", 12, 0)
    assert report["response_types"] == {"option": 12}
    groups = report["groups"]
    assert list(groups) == ["all", "mean of subsets", "Focus", "Safety", "as hard_refusal"]
    assert (groups["all"]["families"], groups["all"]["chance"]) == (6, 0.25)
    for group in groups.values():
        value, low, high = group["total"]
        assert low <= value <= high
        assert group["difference"][0] == pytest.approx(value - group["reward_model"][0])


def test_outside_the_policy_the_reward_is_r_rm_and_the_table_says_so(judged):
    printed = judged(as_json=False)
    assert "12 rows of" in printed and "12 outside the policy" in printed
    assert "R_tot is R_rm" in printed
    assert judged()["groups"]["all"]["difference"] == [0, 0, 0]


def test_rewards_are_kept_and_depend_on_the_response_type(judged, project):
    one, again, other = judged(), judged(), judged(response_type="comply")
    assert one == again
    assert one["kept"] != other["kept"]
    assert one["kept"].startswith(str(project.root / ".cache"))


def test_a_bad_row_stops_with_its_line_unless_it_is_left_out(judged, capsys):
    bad = [*PAIRS, {**PAIRS[0], "id": "x", "chosen": []}]
    with pytest.raises(DataError, match=r"pairs\.jsonl.*13.*chosen must be .*--skip-bad"):
        judged(bad)
    assert judged(bad, skip_bad=True)["left_out"] == 1
    with pytest.raises(DataError, match="no rows in it"):
        judged(bad[12:], skip_bad=True)


def test_a_limit_does_not_part_ties(tmp_path):
    tied = [
        {**PAIRS[0], "id": f"{kind}:{n}", "subset": "Ties"}
        for n in (1, 2)
        for kind in ("ref", "tied")
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in tied))
    _, rows, _ = chosen_rows(str(path), None, "test", 1, False)
    assert [row.id for _, row in rows] == ["ref:1", "tied:1"]


def test_a_row_then_the_option_then_the_projects_prompts_say_the_type(context, rules, tmp_path):
    written = next(
        row
        for row in read_rows(context.source / "safety_prompts", Prompt)
        if len(row.conversation) == 1
    )
    rows = [
        {**PAIRS[0], "response_type": "soft_refusal_methods"},
        {**PAIRS[1], "prompt": written.conversation[0].content.upper()},
        PAIRS[2],
        {**PAIRS[3], "response_type": "none"},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, placed, _ = chosen_rows(str(path), None, "test", None, False)
    typed, known = with_types(context, rules, placed, None)
    of_prompt = rules.response_type(written.category, written.kind)
    assert [row.response_type for row in typed] == ["soft_refusal_methods", of_prompt, None, None]
    assert known == {"row": 1, "project's prompt": 1, "outside the policy": 2}
    typed, known = with_types(context, rules, placed, "comply")
    assert [row.response_type for row in typed] == [
        "soft_refusal_methods", "comply", "comply", None,
    ]  # fmt: skip
    assert known == {"row": 1, "option": 2, "outside the policy": 1}
    typed, _ = with_types(context, rules, placed, "none")
    assert [row.response_type for row in typed][1:] == [None, None, None]


def test_a_type_that_the_rules_lack_is_refused(context, rules):
    with pytest.raises(RBRError, match="--response-type 'maybe' is not one of"):
        with_types(context, rules, [], "maybe")
    ranked = rewardbench_2({**PAIRS[0], "response_type": "maybe"}, 1)
    place = Place(context.root / "p.jsonl", 4)
    with pytest.raises(DataError, match=r"p\.jsonl.*4.*'maybe' is not one of .*none"):
        with_types(context, rules, [(place, ranked)], None)
