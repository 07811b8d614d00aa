"""Profiles: complete, and errors that name file and key."""

import pytest
import yaml

from pipeline.profile import Settings, read_settings
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
    with pytest.raises(RBRError, match=r"p\.yaml: rl\.stepz"):
        read_settings(workspace(tmp_path, "rl: {stepz: 3}\n"))


def test_a_value_out_of_range_is_named(tmp_path):
    with pytest.raises(RBRError, match=r"p\.yaml: human\.noise"):
        read_settings(workspace(tmp_path, "human: {noise: 2}\n"))


@pytest.mark.parametrize("names", ["[helpful]", "[rbr, rbr]", "[rbr, robot]"])
def test_variants_are_known_and_the_released_one_is_among_them(tmp_path, names):
    with pytest.raises(RBRError, match=r"p\.yaml: variants"):
        read_settings(workspace(tmp_path, f"variants: {names}\n"))


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
    with pytest.raises(RBRError, match=rf"p\.yaml: {told}"):
        read_settings(workspace(tmp_path, f"external_eval: {section}\n"))


def test_of_an_external_sets_source_only_a_file_is_one(tmp_path):
    sources = {"a": "data/external/X.CSV", "b": "owner/name", "c": "some-wheel"}
    written = {name: {"format": "xstest", "source": of} for name, of in sources.items()}
    _, settings = read_settings(workspace(tmp_path, yaml.safe_dump({"external_eval": written})))
    files = {name: chosen.files for name, chosen in settings.external_eval.items()}
    assert files == {"a": ("data/external/X.CSV",), "b": (), "c": ()}
