"""Work in this process."""

import subprocess
import sys

from rbr.scale.batches import run_batches
from rbr.scale.options import ClusterOptions


def test_without_an_address_batches_are_worked_on_here_and_in_order():
    made = []

    def make():
        made.append(1)
        return lambda batch: batch * 2

    assert list(run_batches(make, [3, 1, 2], ClusterOptions())) == [(0, 6), (1, 2), (2, 4)]
    assert list(run_batches(make, [], ClusterOptions())) == []
    assert made == [1]


def test_without_an_address_ray_is_not_imported(root):
    code = (
        "import sys; from rbr.scale import run_batches;"
        "list(run_batches(lambda: abs, [1, 2])); import pipeline.loading, orchestration.definitions;"
        "sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
