"""``rbr export``: the folder of a model, and its way to the hub."""

import pytest

from orchestration.cli.export import export
from rbr.errors import ModelError, RBRError


@pytest.fixture
def model(made_of):
    files = {"config.json": "{}", "model.safetensors": "w", "tokenizer.json": "{}", "loss.png": ""}
    made_of("model_release", {"model_card.md": "# Card"})
    return made_of("rbr/ppo_checkpoint", files)


def test_it_has_model_tokenizer_and_card_and_nothing_of_the_training(written, model, tmp_path):
    target = tmp_path / "exported"
    for _ in range(2):  # a folder exported before is replaced
        export("ppo_checkpoint/rbr", target, None, written)
    assert {path.name for path in target.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "README.md",
    }
    assert (target / "README.md").read_text() == "# Card"


def test_a_folder_without_weights_is_refused(written, model, tmp_path):
    (model / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no \*\.safetensors here"):
        export("ppo_checkpoint/rbr", tmp_path / "exported", None, written)
    with pytest.raises(RBRError, match="is a model of the hub"):
        export("someone/a-model", tmp_path / "exported", None, written)
    assert not (tmp_path / "exported").exists()


def test_it_is_uploaded_by_name_and_a_failure_keeps_the_folder(
    written, model, tmp_path, monkeypatch, capsys
):
    calls = []

    class Api:
        def create_repo(self, name, exist_ok):
            calls.append(name)
            if name == "me/denied":
                raise OSError("401 Client Error\nand more")

        def upload_folder(self, repo_id, folder_path):
            return f"hub:{repo_id}:{folder_path.name}"

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    export("ppo_checkpoint/rbr", tmp_path / "exported", "me/model", written)
    assert "hub:me/model:exported" in capsys.readouterr().out
    with pytest.raises(RBRError, match=r"upload to 'me/denied' failed \(401 Client Error\)"):
        export("ppo_checkpoint/rbr", tmp_path / "other", "me/denied", written)
    assert (tmp_path / "other" / "model.safetensors").exists()
