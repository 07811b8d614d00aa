"""Profiles: complete, and errors that name file and key."""

import pytest
import yaml

from pipeline.profile import Settings, read_section, read_settings
from rbr.data.splits import SplitOptions
from rbr.errors import RBRError


@pytest.mark.parametrize("profile", ["laptop", "smoke"])
def test_a_profile_writes_out_every_section(root, profile):
    # DVC compares section by section and cannot see a default that changes in code.
    written = yaml.safe_load((root / "profiles" / f"{profile}.yaml").read_text())
    assert set(written) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            assert set(written[name]) == set(field.annotation.model_fields), name


def workspace(tmp_path, text, profile="p"):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "p.yaml").write_text(text)
    (tmp_path / "params.yaml").write_text(f"profile: {profile}\n")
    return tmp_path


def test_a_misspelt_key_is_named(tmp_path):
    with pytest.raises(
        RBRError, match=r"p\.yaml:1:6: rl\.stepz: unknown key; did you mean 'steps'"
    ):
        read_settings(workspace(tmp_path, "rl: {stepz: 3}\n"))


def test_a_value_out_of_range_is_named(tmp_path):
    with pytest.raises(RBRError, match=r"p\.yaml:1:9: human\.noise"):
        read_settings(workspace(tmp_path, "human: {noise: 2}\n"))


@pytest.mark.parametrize("names", ["[helpful]", "[rbr, rbr]", "[rbr, robot]"])
def test_variants_are_known_and_the_released_one_is_among_them(tmp_path, names):
    with pytest.raises(RBRError, match=r"p\.yaml:1:1: variants"):
        read_settings(workspace(tmp_path, f"variants: {names}\n"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: true", "1:1: seed: must be a number, not true"),
        ("seed: '3'", "1:1: seed: must be a number: write 3 without quotes"),
        ("seed: ٣", "1:1: seed: must be a number in the digits 0 to 9, not '٣'"),
        ("human:\n  noise: true", "2:3: human.noise: must be a number, not true"),
        ("human:\n  noise:", "2:3: human.noise: must be a number, and nothing is written here"),
        ("human:\n  noise: x", "2:3: human.noise: must be a number, not 'x'"),
        ("human: {noise: .nan}", "1:9: human.noise: Input should be"),
        ("comparisons: {temperature: .inf}", "1:15: comparisons.temperature: Input should be a finite"),
        ("human:", "1:1: human: must be a mapping of settings: indent them below it, or drop it"),
        ("external_eval:", "1:1: external_eval: must be a mapping: indent its entries below it"),
        ("variants: rbr", "1:1: variants: must be a list, such as [one, other]"),
        ("variants: [rbr, true]", "1:17: variants.1: must be text: put it in quotes, 'true'"),
        ("gold: {a: 1}", "1:8: gold.a: unknown key; there are: "),
        (
            "external_eval: {x: {format: xstest, source: x.csv, skip_bad: 'yes'}}",
            "1:52: external_eval.x.skip_bad: must be true or false, not 'yes'",
        ),
        (
            "external_eval: {x: {format: xstest, source: x.csv, skip_bad: 1}}",
            "1:52: external_eval.x.skip_bad: must be true or false, not 1",
        ),
        ("seed: 1\nseed: 2", "2:1: 'seed' stands twice: drop one"),
        ("human: {noise: 0.1, noise: 0.2}", "1:21: 'noise' stands twice: drop one"),
        ("<<: {seed: 1}", "1:1: merge keys (<<) are not taken: write the settings out"),
        ("evaluation: {prompts: 010}", "1:23: '010' may be read as something else: write a plain number"),
        ("evaluation: {prompts: 1:30}", "1:23: '1:30' may be read as something else: write a plain"),
        ("human: {noise: 1:30.5}", "1:16: '1:30.5' may be read as something else: write a plain"),
        ("variants: [rbr, no]", "1:17: 'no' may be read as something else: write true or false"),
    ],
)  # fmt: skip
def test_what_yaml_would_take_without_a_word_is_told_at_its_place(tmp_path, text, told):
    root = workspace(tmp_path, f"{text}\n")
    with pytest.raises(RBRError) as raised:
        read_settings(root)
    assert str(raised.value).startswith(f"{root / 'profiles' / 'p.yaml'}:{told}")


def test_one_section_is_told_at_its_place_too(tmp_path):
    root = workspace(tmp_path, "seed: 1\nprompts:\n  limit: true\n")
    with pytest.raises(RBRError, match=r"p\.yaml:3:3: prompts\.limit: must be a number, not true"):
        read_section(root, "prompts", SplitOptions)


def test_numbers_are_read_as_people_write_them(tmp_path):
    settings = read_settings(workspace(tmp_path, "human: {noise: 1e-2}\nseed: 12\n"))[1]
    assert (settings.human.noise, settings.seed) == (0.01, 12)


def test_an_unknown_profile_lists_those_there_are(tmp_path):
    with pytest.raises(RBRError, match="there are: p"):
        read_settings(workspace(tmp_path, "seed: 1\n", profile="q"))


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("{x: {format: odd, source: x.csv}}", r"external_eval\.x\.format.*harmbench"),
        ("{x: {format: xstest}}", r"external_eval\.x\.source"),
        ("{'a/b': {format: xstest, source: x.csv}}", r"external_eval\.a/b"),
        ("{x: {format: xstest, source: x.csv, prompts: 0}}", r"external_eval\.x\.prompts"),
    ],
)
def test_an_external_set_that_cannot_be_is_named(tmp_path, section, told):
    with pytest.raises(RBRError, match=rf"p\.yaml:1:\d+: {told}"):
        read_settings(workspace(tmp_path, f"external_eval: {section}\n"))


def test_of_an_external_sets_source_only_a_file_is_one(tmp_path):
    sources = {"a": "data/external/X.CSV", "b": "owner/name", "c": "some-wheel"}
    written = {name: {"format": "xstest", "source": of} for name, of in sources.items()}
    _, settings = read_settings(workspace(tmp_path, yaml.safe_dump({"external_eval": written})))
    files = {name: chosen.files for name, chosen in settings.external_eval.items()}
    assert files == {"a": ("data/external/X.CSV",), "b": (), "c": ()}
