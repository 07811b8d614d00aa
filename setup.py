"""What pyproject.toml cannot say: the examples of `rbr init` are copied into the wheel from where they are."""

import runpy
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PROJECT = Path("orchestration", "project")
examples = runpy.run_path(str(ROOT / PROJECT / "examples.py"))


class BuildWithExamples(build_py):
    """Copies modules, then the examples beside theirs; an editable install reads the checkout's."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            examples["pack"](ROOT, Path(self.build_lib) / PROJECT / examples["PACKED"].name)


setup(cmdclass={"build_py": BuildWithExamples})
