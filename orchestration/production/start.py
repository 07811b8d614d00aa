"""``python -m orchestration.production.start -m MODULE ...``: what supervisord runs for each service.

Ends what a killed predecessor left running, then becomes the service itself.
"""

from __future__ import annotations

import os
import sys

from orchestration.leftovers import kill_marked
from orchestration.orphaned_runs import report_orphaned_runs


def main(command: list[str]) -> None:
    """Replace this process by ``python *command``."""
    # supervisord marks the environment of what it starts.
    mark = {key: os.environ[key] for key in ("SUPERVISOR_SERVER_URL", "SUPERVISOR_PROCESS_NAME")}
    kill_marked(**mark)
    if mark["SUPERVISOR_PROCESS_NAME"] == "code-server":
        # Run workers are children of the code server. Dagster still takes those of a killed one for
        # running; once they are reported as failed, the daemon starts their runs again.
        import dagster as dg

        with dg.DagsterInstance.get() as instance:
            for run_id in report_orphaned_runs(instance, workers=True):
                print(f"run {run_id} lost its worker: it will be started again", flush=True)
    os.execv(sys.executable, [sys.executable, *command])


if __name__ == "__main__":
    main(sys.argv[1:])
