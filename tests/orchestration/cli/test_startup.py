"""Commands that need no model start without the libraries of those that do."""

import subprocess
import sys

import pytest

HEAVY = {
    "accelerate", "assets", "dagster", "datasets", "dvc", "fastapi", "great_expectations", "grimp",
    "matplotlib", "mlflow", "numpy", "openai", "pandas", "psutil", "sklearn", "scipy", "torch",
    "transformers", "trl",
}  # fmt: skip
SCRIPT = """
import sys
from orchestration.cli.main import main
sys.argv = ["rbr", *sys.argv[1:]]
try:
    main()
except SystemExit as stopped:
    status = stopped.code or 0
print("LOADED", status, *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    "command", [["--help"], ["rules", "check"], ["runs", "--help"], ["data", "template", "gold"]]
)
def test_it_loads_none_of_them(root, command):
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, *command], cwd=root, capture_output=True, text=True
    )
    word, status, *loaded = found.stdout.splitlines()[-1].split()
    assert (word, status) == ("LOADED", "0"), found.stderr
    assert HEAVY & {*loaded} == set()
