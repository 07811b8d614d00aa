"""A project with the written data and no artifact, opened without a subprocess."""

import shutil

import pytest

from orchestration.cli.common import open_context


@pytest.fixture
def written(root, rules_folder):
    """A project's root: rules, prompts, gold rows and profiles."""
    project = rules_folder.parent
    for name in ("gold", "safety_prompts"):
        shutil.copytree(root / "data/source" / name, project / "data/source" / name)
    shutil.copytree(root / "profiles", project / "profiles")
    (project / "params.yaml").write_text("profile: smoke\n")
    return project


@pytest.fixture
def context(written):
    return open_context(written)


@pytest.fixture
def made_of(context):
    """Makes artifacts of the given files: ``made(key, {name: text})``."""

    def make(key, files=()):
        folder = context.path(key)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in {"metrics.json": "{}", **dict(files)}.items():
            (folder / name).write_text(text)
        return folder

    return make
