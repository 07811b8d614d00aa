"""``dvc.yaml`` from the declarations of the artifacts.

Run ``python -m orchestration.dvc_yaml`` after a change of a declaration or of the profile's variants; a
test fails while the file is not what this module renders.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from assets import graph_of
from orchestration.code_digests import FOLDER, PACKAGES
from pipeline.artifact import Artifact
from pipeline.profile import read_settings
from rbr.errors import RBRError
from rbr.files import replacing

HEADER = (
    "# Made by `python -m orchestration.dvc_yaml` from the declarations of the artifacts (assets/ in the\n"
    "# code) and the profile's variants.\n"
)
CODE = "code"
# The last release's figures: no output of a stage, and committed with git.
RELEASED = "metrics.json"


def holds_code(root: Path) -> bool:
    """Whether the code that makes artifacts lies in the workspace, as in a checkout."""
    return all((root / name / "__init__.py").is_file() for name in PACKAGES)


def code_stage(inside: bool) -> dict[str, Any]:
    """The stage that all others depend on: digests of the code that makes each artifact.

    Args:
        inside: whether the workspace holds the code. DVC does not see an installed package change, so the
            stage always runs then; what depends on it is made again only where a digest differs.
    """
    return {
        "cmd": "python -m orchestration.code_digests",
        "desc": "Digests of the code that makes each artifact; a comment changes none.",
        **({"deps": sorted(PACKAGES)} if inside else {"always_changed": True}),
        "outs": [str(FOLDER)],
    }


def stage_of(artifact: Artifact, artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    """The stage of one artifact."""
    deps = {f"{FOLDER}/{artifact.name}", *artifact.sources}
    # Of the rules only the sections that matter: a change of another leaves this stage alone.
    deps |= {f"{artifacts['rules'].path}/{section}.json" for section in artifact.rules}
    deps |= {artifacts[key].path for key in artifact.inputs if key != "rules"}
    stage: dict[str, Any] = {
        "cmd": f"python -m orchestration.stage {artifact.key}",
        "desc": artifact.description,
        "deps": sorted(deps),
    }
    if artifact.settings:
        stage["params"] = [{"profiles/${profile}.yaml": ["seed", *artifact.settings]}]
    return {**stage, "outs": [artifact.path]}


def render(artifacts: Mapping[str, Artifact], inside: bool = True) -> str:
    """The whole file as text; ``inside`` as ``code_stage`` takes it."""
    stages = {a.stage: stage_of(a, artifacts) for a in artifacts.values()}
    content = {
        "stages": {CODE: code_stage(inside), **stages},
        "metrics": [RELEASED, *(f"{a.path}/metrics.json" for a in artifacts.values())],
        "plots": [f"{a.path}/{a.plot}" for a in artifacts.values() if a.plot],
    }
    return HEADER + yaml.safe_dump(content, sort_keys=False, width=100)


def write(root: Path) -> Path:
    """Write ``dvc.yaml`` under ``root``, for the variants of its profile; returns its path."""
    artifacts = graph_of(read_settings(root)[1])
    with replacing(root / "dvc.yaml") as partial:
        partial.write_text(render(artifacts, holds_code(root)), encoding="utf-8")
    return root / "dvc.yaml"


def require_current(root: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Check that ``dvc.yaml`` is of today's declarations.

    Raises:
        RBRError: if it is not, or is missing.
    """
    path = root / "dvc.yaml"
    if not path.is_file() or path.read_text(encoding="utf-8") != render(
        artifacts, holds_code(root)
    ):
        raise RBRError(
            "not what the code and the profile's variants declare: run"
            " `python -m orchestration.dvc_yaml`",
            path,
        )


if __name__ == "__main__":
    print(f"wrote {write(Path.cwd())}")
