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
