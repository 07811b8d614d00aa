"""DVC seen from the pipeline: is an artifact current, restore it from the cache, commit it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from orchestration.lineage.lock import WAIT, backup_dvc_lock, hold_dvc_lock, repair_dvc_lock
from rbr.errors import RBRError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

T = TypeVar("T")


class InputsChangedError(RBRError):
    """What an artifact was made from was edited meanwhile."""


class Versions:
    """The stages of ``dvc.yaml`` under a root.

    Each call opens the repository afresh, since DVC remembers what it read, and under DVC's lock, so
    that ``dvc.lock`` is never read while another process writes it. Its run cache is used from the
    root: DVC takes the paths from the current folder, which is another for an ablation's arm.

    Args:
        log: receives a line when another process holds the lock.
    """

    def __init__(self, root: Path, log: Callable[[str], None] = print) -> None:
        self.root = root
        self._file = str(root / "dvc.yaml")
        self._log = log

    @contextmanager
    def _open(self) -> Iterator[Repo]:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
        from dvc.scm import SCMError

        # DVC logs what Dagster's own event log has too.
        logging.getLogger("dvc").setLevel(logging.ERROR)
        try:
            try:
                repo = Repo(str(self.root))
            except SCMError:  # unpacked from an archive, say: versions of data need no git
                repo = Repo(str(self.root), config={"core": {"no_scm": True}})
        except DvcException as error:
            raise RBRError(f"not a DVC repository ({error}): run `dvc init`", self.root) from error
        with repo, hold_dvc_lock(repo, self.root, self._log):
            repair_dvc_lock(repo)
            yield repo
            backup_dvc_lock(self.root)

    def _do(self, work: Callable[[Repo], T]) -> T:
        """Work on the repository; again while a stage that another process runs locks its files."""
        from dvc.lock import LockError

        logged = False
        while True:
            try:
                with self._open() as repo:
                    return work(repo)
            except LockError as error:
                if not logged:
                    self._log(f"waiting for DVC: {error}".splitlines()[0])
                    logged = True
                time.sleep(WAIT)

    def _stage(self, repo: Repo, stage: str) -> Stage:
        from dvc.exceptions import DvcException

        try:
            return repo.stage.load_one(path=self._file, name=stage)
        except DvcException as error:
            raise RBRError(
                f"no stage '{stage}' ({error}): run `python -m orchestration.dvc_yaml`",
                Path(self._file),
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
            found = self._stage(repo, stage)
            if any(not dep.exists for dep in found.deps):
                return None
            if found.changed():
                try:
                    with chdir(self.root):
                        repo.stage_cache.restore(found)
                except LockError:
                    raise
                except (RunCacheNotFoundError, DvcException):
                    return None
                found.save(run_cache=False)
                found.dump(update_pipeline=False)
            return str(found.outs[0].hash_info.value)

        return self._do(work)

    def inputs(self, stage: str) -> dict[str, str]:
        """Hashes of what a stage reads, settings too, as the workspace has them."""

        def work(repo: Repo) -> dict[str, str]:
            deps = self._stage(repo, stage).deps
            return {str(dep): str(dep.get_hash().value) for dep in deps if dep.exists}

        return self._do(work)

    def commit(self, stage: str, inputs: dict[str, str], share: bool = True) -> None:
        """Record inputs and outputs of a stage in ``dvc.lock``, the cache and (``share``) the run cache.

        Args:
            inputs: what it was made from; nothing is recorded if the workspace has others by now.

        Raises:
            InputsChangedError: naming one of them.
        """

        def work(repo: Repo) -> None:
            found = self._stage(repo, stage)
            found.save(run_cache=False)
            for dep in found.deps:
                if inputs.get(str(dep)) != str(dep.hash_info.value):
                    raise InputsChangedError(
                        f"changed while '{stage}' was made from it: make it again",
                        self.root / str(dep),
                    )
            found.commit()
            found.dump(update_pipeline=False)
            if share:
                with chdir(self.root):
                    repo.stage_cache.save(found)

        self._do(work)

    def commit_if_changed(self, stage: str) -> None:
        """Record a stage whose output was just written, unless ``dvc.lock`` has it already."""

        def work(repo: Repo) -> None:
            found = self._stage(repo, stage)
            if found.changed():
                found.save(run_cache=False)
                found.commit()
                found.dump(update_pipeline=False)

        self._do(work)

    def cache_settings(self) -> dict[str, str]:
        """DVC's section ``cache`` for another root that shares this one's cache and run cache."""
        with self._open() as repo:
            types = ",".join(repo.cache.local.cache_types)
            return {"dir": str(repo.cache.legacy.path), "type": types}

    def cached(self) -> Path:
        """The folder where DVC keeps files by their hash."""
        with self._open() as repo:
            return Path(repo.cache.local.path)

    def uncommitted(self, stages: Collection[str]) -> list[str]:
        """Those whose output in the workspace is not the one ``dvc.lock`` names."""

        def work(repo: Repo) -> list[str]:
            # All at once: reading dvc.lock takes longer than anything else here.
            found = {stage.name: stage for stage in repo.stage.load_all(self._file)}
            return [
                name
                for name in stages
                if name not in found
                or not all(out.hash_info and not out.changed() for out in found[name].outs)
            ]

        return self._do(work) if stages else []

    def hashes(self, stage: str) -> dict[str, str]:
        """DVC hashes of inputs (``dep:`` path) and outputs (``out:`` path) as the workspace has them."""

        def work(repo: Repo) -> dict[str, str]:
            found = self._stage(repo, stage)
            files = [*(("dep", dep) for dep in found.deps), *(("out", out) for out in found.outs)]
            result: dict[str, str] = {}
            for role, file in files:
                value: Any = file.get_hash() if file.exists else None
                if value is not None and file.hash_name in ("md5", None):
                    result[f"{role}:{file.def_path}"] = str(value.value)
            return result

        return self._do(work)

    def data_versions(self, stages: Collection[str]) -> dict[str, str]:
        """The DVC hashes of several stages' outputs on disk; those that have none are left out."""

        def work(repo: Repo) -> dict[str, str]:
            found = {stage.name: stage.outs[0] for stage in repo.stage.load_all(self._file)}
            return {
                name: str(found[name].get_hash().value)
                for name in stages
                if name in found and found[name].exists
            }

        return self._do(work)

    def data_version(self, stage: str) -> str:
        """The DVC hash of a stage's output: its Dagster data version."""
        found = self.data_versions([stage])
        if stage not in found:
            raise RBRError(f"stage '{stage}' has no output on disk", self.root / "dvc.yaml")
        return found[stage]
