"""DVC seen from the pipeline: is an artifact current, give it back from the cache, commit it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from orchestration.lineage.lock import WAIT, held, keep, mend
from rbr.errors import RBRError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

T = TypeVar("T")


class InputsChangedError(RBRError):
    """What an artifact was made from was edited meanwhile."""


def address(name: str, variant: str | None = None) -> str:
    """DVC's name of a stage: ``name``, or ``name@variant`` for the steps that have variants."""
    return f"{name}@{variant}" if variant else name


class Versions:
    """The stages of ``dvc.yaml`` under a root.

    Each call opens the repository afresh, since DVC remembers what it read, under DVC's lock, so that
    ``dvc.lock`` is never read while another process writes it.

    Args:
        say: told when it waits for another process that holds the lock.
    """

    def __init__(self, root: Path, say: Callable[[str], None] = print) -> None:
        self.root = root
        self.say = say

    @contextmanager
    def _open(self) -> Iterator[Repo]:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        # DVC says on its log what Dagster's own event log says too.
        logging.getLogger("dvc").setLevel(logging.ERROR)
        try:
            repo = Repo(str(self.root))
        except DvcException as error:
            raise RBRError(f"not a DVC repository ({error}): run `dvc init`", self.root) from error
        # DVC takes paths of stages from the current folder: an ablation's arm has a root of its own.
        with repo, chdir(self.root), held(repo, self.root, self.say):
            mend(self.root)
            yield repo
            keep(self.root)

    def _do(self, work: Callable[[Repo], T]) -> T:
        """Work on the repository, again while a stage that another process runs keeps its files."""
        from dvc.lock import LockError

        told = False
        while True:
            try:
                with self._open() as repo:
                    return work(repo)
            except LockError as error:
                if not told:
                    self.say(f"waiting for DVC: {error}".splitlines()[0])
                    told = True
                time.sleep(WAIT)

    @staticmethod
    def _stage(repo: Repo, stage: str) -> Stage:
        from dvc.exceptions import DvcException

        try:
            return repo.stage.load_one(path="dvc.yaml", name=stage)
        except DvcException as error:
            raise RBRError(
                f"no stage '{stage}' ({error}): run `python -m orchestration.dvc_yaml`",
                Path(repo.root_dir) / "dvc.yaml",
            ) from error

    def restore(self, stage: str) -> str | None:
        """Bring an artifact that was made before from the same inputs into the workspace.

        Looks at the workspace, then at ``dvc.lock``, then at DVC's run cache.

        Returns:
            Its data version; None if it must be made, and nothing has changed then.
        """
        from dvc.exceptions import DvcException
        from dvc.lock import LockError
        from dvc.stage.cache import RunCacheNotFoundError

        def work(repo: Repo) -> str | None:
            own = self._stage(repo, stage)
            if any(not dep.exists for dep in own.deps):
                return None
            if own.changed():
                try:
                    repo.stage_cache.restore(own)
                except LockError:
                    raise
                except (RunCacheNotFoundError, DvcException):
                    return None
                own.save()
                own.dump(update_pipeline=False)
            return str(own.outs[0].hash_info.value)

        return self._do(work)

    def inputs(self, stage: str) -> dict[str, str]:
        """Hashes of what a stage reads, settings too, as the workspace has them."""

        def work(repo: Repo) -> dict[str, str]:
            return {
                str(dep): str(dep.get_hash().value)
                for dep in self._stage(repo, stage).deps
                if dep.exists
            }

        return self._do(work)

    def commit(self, stage: str, inputs: dict[str, str], share: bool = True) -> None:
        """Record inputs and outputs of a stage in ``dvc.lock``, the cache and (``share``) the run cache.

        Args:
            inputs: what it was made from; nothing is recorded if the workspace has others by now.

        Raises:
            InputsChangedError: naming one of them.
        """

        def work(repo: Repo) -> None:
            own = self._stage(repo, stage)
            own.save(run_cache=False)
            for dep in own.deps:
                if inputs.get(str(dep)) != str(dep.hash_info.value):
                    raise InputsChangedError(
                        f"changed while '{stage}' was made from it: make it again",
                        self.root / str(dep),
                    )
            own.commit()
            own.dump(update_pipeline=False)
            if share:
                repo.stage_cache.save(own)

        self._do(work)

    def cache_settings(self) -> dict[str, str]:
        """DVC's section ``cache`` for another root that shares this one's cache and run cache."""
        with self._open() as repo:
            types = ",".join(repo.cache.local.cache_types)
            return {"dir": str(repo.cache.legacy.path), "type": types}

    def uncommitted(self, stages: Collection[str]) -> list[str]:
        """Those whose output in the workspace is not the one ``dvc.lock`` names."""
        if not stages:
            return []

        def work(repo: Repo) -> list[str]:
            # All at once: reading dvc.lock takes longer than anything else here.
            found = {own.addressing: own for own in repo.stage.load_all("dvc.yaml")}
            return [
                name
                for name in stages
                if name not in found
                or not all(out.hash_info and not out.changed() for out in found[name].outs)
            ]

        return self._do(work)

    def hashes(self, stage: str) -> dict[str, str]:
        """DVC hashes of inputs (``dep:`` path) and outputs (``out:`` path) as the workspace has them."""

        def work(repo: Repo) -> dict[str, str]:
            own = self._stage(repo, stage)
            result: dict[str, str] = {}
            for kind, files in (("dep", own.deps), ("out", own.outs)):
                for file in files:
                    found: Any = file.get_hash() if file.exists else None
                    if found is not None and file.hash_name in ("md5", None):
                        result[f"{kind}:{file.def_path}"] = str(found.value)
            return result

        return self._do(work)

    def data_versions(self, stages: Collection[str]) -> dict[str, str]:
        """The DVC hashes of several stages' outputs on disk; those that have none are left out."""

        def work(repo: Repo) -> dict[str, str]:
            found = {own.addressing: own.outs[0] for own in repo.stage.load_all("dvc.yaml")}
            return {
                name: str(found[name].get_hash().value)
                for name in stages
                if name in found and found[name].exists
            }

        return self._do(work)

    def data_version(self, stage: str) -> str:
        """The DVC hash of the stage's output: its Dagster data version."""
        outs = [v for k, v in self.hashes(stage).items() if k.startswith("out:")]
        if len(outs) != 1:
            raise RBRError(f"stage '{stage}' has no output on disk", self.root / "dvc.yaml")
        return outs[0]
