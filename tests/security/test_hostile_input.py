"""Hostile files and names are refused with a clear error, and nothing of them is executed."""

import json
import os
import pickle
import shutil
import struct

import pytest

from orchestration import stage
from pipeline.profile import MAX_BYTES, read_settings
from rbr.errors import DataError, ModelError, RBRError, RuleError
from rbr.files import MAX_LINE, iter_json_lines
from rbr.models.load import load_causal, load_tokenizer
from rbr.models.tiny import make_tiny
from rbr.rules import load_rules
from tests.orchestration.conftest import make_workspace

TAG = "!!python/object/apply:os.system ['touch {}']"


@pytest.fixture
def project(root, tmp_path):
    """Rules and profiles, to be spoilt."""
    for name in ("rules", "profiles"):
        shutil.copytree(root / name, tmp_path / name)
    shutil.copy(root / "params.yaml", tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("hostile") / "tiny", ["one two three"])


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "..", "a/b", "a\x00b", ""])
def test_a_profile_is_a_name_and_no_path(project, name):
    (project / "params.yaml").write_text(f"profile: {json.dumps(name)}\n")
    with pytest.raises(RBRError, match="must name a file of profiles/"):
        read_settings(project)


@pytest.mark.parametrize(
    "key",
    ["../rules", "models/../../x", "rules/../..", "/tmp/x", "../human/ppo_checkpoint",
     "rbr/../../x", "rbr/ppo_checkpoint/../x", ""],
)  # fmt: skip
def test_an_artifact_is_one_of_those_there_are(root, key, tmp_path, monkeypatch, capsys):
    make_workspace(root, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    before = sorted((tmp_path / "project").rglob("*"))
    assert stage.main([key]) == 1
    assert f"no artifact '{key}'; there are: " in capsys.readouterr().err
    assert sorted((tmp_path / "project").rglob("*")) == before


def test_yaml_tags_of_settings_are_refused_and_not_run(project):
    marker = project / "ran"
    profile = project / "profiles" / "smoke.yaml"
    profile.write_text(profile.read_text() + f"seed: {TAG.format(marker)}\n")
    with pytest.raises(RBRError, match="YAML"):
        read_settings(project, "smoke")
    assert not marker.exists()


def test_yaml_tags_of_rules_are_refused_and_not_run(project):
    marker = project / "ran"
    path = project / "rules" / "reward.yaml"
    path.write_text(path.read_text() + f"more: {TAG.format(marker)}\n")
    with pytest.raises(RuleError, match="tag") as refused:
        load_rules(project / "rules")
    assert "reward.yaml" in str(refused.value)
    assert not marker.exists()


def test_aliases_that_multiply_are_refused(project):
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
    )
    (project / "profiles" / "bomb.yaml").write_text(bomb)
    with pytest.raises(RBRError, match="alias"):
        read_settings(project, "bomb")
    (project / "rules" / "reward.yaml").write_text(bomb)
    with pytest.raises(RuleError, match="alias"):
        load_rules(project / "rules")


def test_oversized_files_are_refused_before_they_are_read(project):
    with (project / "profiles" / "big.yaml").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(RBRError, match="over"):
        read_settings(project, "big")
    with (project / "rules" / "reward.yaml").open("wb") as file:
        file.truncate(100 * MAX_BYTES)
    with pytest.raises(RuleError, match="over"):
        load_rules(project / "rules")
    rows = project / "rows.jsonl"
    rows.write_text('{"id": "one"}\n"' + "x" * (MAX_LINE + 10))
    with pytest.raises(DataError, match=r"rows\.jsonl:2: a line of over"):
        list(iter_json_lines(rows))


class Runs:
    """Leaves a mark when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return (os.system, (f"touch {self.marker}",))


def spoilt(tiny, folder):
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").unlink()
    return folder


def test_a_pickled_model_is_refused_and_not_unpickled(tiny, tmp_path):
    marker = tmp_path / "ran"
    folder = spoilt(tiny, tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Runs(marker)))
    with pytest.raises(ModelError, match="safetensors"):
        load_causal(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not safetensors at all",
        struct.pack("<Q", 2**62) + b"{}",  # a header longer than any memory
        struct.pack("<Q", 8) + b"{notjson",
        struct.pack("<Q", 80)
        + b'{"a":{"dtype":"F32","shape":[9999999999],"data_offsets":[0,39999999996]}}'.ljust(80),
        pickle.dumps({"a": 1}),
    ],
    ids=["empty", "text", "endless header", "bad header", "more than there is", "pickle"],
)
def test_hostile_safetensors_are_refused(tiny, tmp_path, content):
    folder = spoilt(tiny, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="cannot load the model"):
        load_causal(folder)


def test_code_that_comes_with_a_model_is_not_run(tiny, tmp_path):
    marker = tmp_path / "ran"
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    (folder / "modeling_own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps(config))
    load_causal(folder)
    load_tokenizer(folder)
    assert not marker.exists()


def test_brackets_in_brackets_are_refused_before_they_are_read(project):
    deep = "[" * 100_000
    (project / "profiles" / "smoke.yaml").write_text(f"seed: {deep}")
    with pytest.raises(RBRError, match="over 50 levels"):
        read_settings(project, "smoke")
    (project / "rules" / "derived.yaml").write_text(f"a: {deep}")
    with pytest.raises(RuleError, match="over 50 levels"):
        load_rules(project / "rules")
