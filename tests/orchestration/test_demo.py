"""What `make demo` prints when the graph is made."""

from orchestration.demo import show
from pipeline.release.comparison_table import TITLES, TYPE_TITLES
from rbr.files import write_json


def test_each_external_set_has_a_table_and_what_is_known_of_the_judge(tmp_path, capsys):
    values = dict.fromkeys(TITLES, (0.5, 0.25, 0.75))
    external = {
        "set": "theirs",
        "prompts": 7,
        "metrics": ["not_unsafe"],
        "note": "right in 50 % [25, 75]",
        "rows": [{"model": "base", "not_unsafe": (0.125, 0.0, 0.25)}],
    }
    comparison = {
        "rows": [{"model": "base", **values}],
        "notes": [],
        "metrics": list(TITLES),
        "titles": TITLES,
        "types": [],
        "type_metrics": list(TYPE_TITLES),
        "type_titles": TYPE_TITLES,
        "external": [external],
        "main": "RBR PPO",
        "differences": [],
        "difference_notes": ["all models answered the same prompts"],
    }
    write_json(tmp_path / "data" / "model_release" / "comparison.json", comparison)
    show(tmp_path)
    printed = capsys.readouterr().out
    assert "theirs (7 prompts of an external set)" in printed
    assert "12.5 [0, 25]" in printed
    assert "- all models answered the same prompts" in printed
    assert "- right in 50 % [25, 75]" in printed
