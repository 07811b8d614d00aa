"""An arm's workspace: the project's files, the profile changed, DVC's cache shared.

It lies under ``.cache/ablations/``. What the arm's change does not reach is restored from DVC's run
cache; the main graph's artifacts, ``dvc.lock`` and champion are never touched.
"""

from __future__ import annotations

import configparser
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import yaml

from orchestration import dvc_yaml
from orchestration.ablation.spec import Ablation, changed_profile
from orchestration.lineage.tracking import Tracking, flat
from orchestration.lineage.versions import Versions
from orchestration.materialize import Workspace
from rbr.files import replacing

# What stages depend on; the rest of an arm's files are its artifacts.
WRITTEN = ("rules", "data/source")
# Content-addressed or checked by hash, and so the same for every arm.
SHARED = (".cache/models", ".cache/grades.sqlite")


class ArmTracking(Tracking):
    """The main root's MLflow; an arm's steps are nested under the arm, and the arm under the ablation."""

    def __init__(self, root: Path, ablation: Ablation, arm: str) -> None:
        super().__init__(root)
        self.ablation = ablation
        self.arm = arm

    def top(self, graph_run: str, profile: str) -> str:
        """The ablation's run; made on first use."""
        name = f"ablation {self.ablation.name} {profile} {time.strftime('%Y-%m-%d %H:%M')}"
        tags = {"rbr.profile": profile, "rbr.ablation": self.ablation.name}
        return self.opened(graph_run, "ablation", name, tags)

    def parent(self, graph_run: str, profile: str) -> str:
        """The arm's run; made on first use, with what the arm changes as parameters."""
        tags = {
            "mlflow.parentRunId": self.top(graph_run, profile),
            "rbr.profile": profile,
            "rbr.ablation": self.ablation.name,
            "rbr.arm": self.arm,
        }
        run = self.opened(graph_run, f"arm {slug(self.arm)}", self.arm, tags)
        arm = self.ablation.arms[self.arm]
        parameters = {"arm": self.arm, "model": f"{arm.variant} {arm.model}", **flat(arm.settings)}
        for key, value in parameters.items():
            self.client.log_param(run, key, value)
        return run


def slug(text: str) -> str:
    """A name that folders and Dagster's ops allow: ``noise 0.1`` -> ``noise_0_1``."""
    return re.sub(r"\W+", "_", text).strip("_").lower()


def folder_of(root: Path, ablation: Ablation, arm: str) -> Path:
    """Where an arm's workspace lies."""
    return root / ".cache" / "ablations" / ablation.name / slug(arm)


def prepare(root: Path, ablation: Ablation, arm: str) -> Workspace:
    """Bring an arm's workspace up to date with the project; its artifacts stay.

    Raises:
        RBRError: if a changed setting is not allowed, or ``root`` is no DVC repository.
    """
    profile, changed = changed_profile(root, ablation, arm)
    folder = folder_of(root, ablation, arm)
    for name in WRITTEN:
        if (folder / name).exists():
            shutil.rmtree(folder / name)
        shutil.copytree(root / name, folder / name)
    (folder / "profiles").mkdir(exist_ok=True)
    with replacing(folder / "profiles" / f"{profile}.yaml") as partial:
        partial.write_text(yaml.safe_dump(changed, sort_keys=False), encoding="utf-8")
    (folder / "params.yaml").write_text(f"profile: {profile}\n", encoding="utf-8")
    dvc_yaml.write(folder)
    _share(root, folder)
    workspace = replace(Workspace.open(folder), gates_block=False)
    workspace = replace(workspace, tracking=ArmTracking(root, ablation, arm))
    workspace.update_code()
    return workspace


def _share(root: Path, folder: Path) -> None:
    """DVC's cache, the grade store and fetched models are the main root's."""
    config = configparser.ConfigParser()
    config["core"] = {"no_scm": "true", "analytics": "false", "autostage": "false"}
    config["cache"] = Versions(root).cache_settings()
    (folder / ".dvc").mkdir(exist_ok=True)
    with (folder / ".dvc" / "config").open("w", encoding="utf-8") as file:
        config.write(file)
    (folder / ".cache").mkdir(exist_ok=True)
    (root / ".cache" / "models").mkdir(parents=True, exist_ok=True)
    for name in SHARED:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(root / name)
    # Outcomes of gates hold for a data version and thresholds, wherever they were found.
    kept = root / ".cache" / "gates"
    (folder / ".cache" / "gates").mkdir(exist_ok=True)
    for path in kept.glob("*.json"):
        if not (folder / ".cache" / "gates" / path.name).exists():
            shutil.copy(path, folder / ".cache" / "gates" / path.name)
