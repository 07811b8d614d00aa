"""docs/data.md: its rows are read as it says, and it names every field."""

import json
import re

import pytest
import yaml

from pipeline.profile import Settings
from rbr.data.attacks import AttackAnswer, AttackTemplate
from rbr.data.evaluation_sets import SETS
from rbr.data.gold import check_gold
from rbr.data.importers import FORMATS, read_foreign
from rbr.data.rows import (
    CapabilityItem,
    CapabilityText,
    HelpfulPrompt,
    Labelled,
    Preference,
    Prompt,
    Sentence,
)
from rbr.data.splits import prompt_errors
from rbr.models.fetch import PROMPTS

SECTIONS = {
    "Safety prompts": Prompt,
    "Attack forms": AttackTemplate,
    "Attack answers": AttackAnswer,
    "Gold rows": Labelled,
    "Planted sentences": Sentence,
    "Helpful preferences": Preference,
    "Helpful prompts": HelpfulPrompt,
    "Capability items": CapabilityItem,
    "Capability texts": CapabilityText,
}


@pytest.fixture
def section(root):
    text = (root / "docs" / "data.md").read_text()
    parts = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    return parts.__getitem__


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(("title", "model"), SECTIONS.items())
def test_rows_of_ours_are_valid_and_show_every_field(section, title, model):
    [line] = blocks(section(title), "json")
    row = json.loads(line)
    model.model_validate(row)
    assert row.keys() == model.model_fields.keys()


def test_prompts_and_gold_rows_fit_the_rules(section, rules, tmp_path):
    for title, name in (("Safety prompts", "prompts"), ("Gold rows", "gold")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.jsonl").write_text(*blocks(section(title), "json"))
    assert not list(prompt_errors(tmp_path / "prompts", rules))
    check_gold(tmp_path / "gold", rules)


def test_rows_of_published_formats_are_read(section, tmp_path):
    text = section("Published formats")
    openai, hh = blocks(text, "json")[0].splitlines()
    xstest, pku = blocks(text, "csv")
    for name in FORMATS.keys() - SETS.keys():
        found = next(
            row
            for start, row in {"openai": openai, "hh": hh, "xstest": xstest, "pku": pku}.items()
            if name.startswith(start)
        )
        path = tmp_path / (f"{name}.jsonl" if found[0] == "{" else f"{name}.csv")
        path.write_text(found)
        result = read_foreign(name, str(path))
        assert (len(result.rows), result.errors) == (1, [])
        assert f"`{name}`" in text


def test_rows_of_evaluation_sets_are_read_and_a_profile_names_them(section, tmp_path):
    text = section("External evaluation sets")
    [lines] = blocks(text, "json")
    path = tmp_path / "x.jsonl"
    for name, line in zip(SETS, lines.splitlines(), strict=True):
        path.write_text(line)
        result = read_foreign(name, str(path))
        assert (len(result.rows), result.errors) == (1, [])
        assert len(result.answers) == bool(SETS[name].answers)
        assert f"| `{name}` |" in text
    [profile] = blocks(text, "yaml")
    chosen = Settings.model_validate(yaml.safe_load(profile)).external_eval
    assert chosen["strongreject"].source in PROMPTS
