"""What is reported while an artifact is made."""

import logging
import time

from pipeline.run import NoRun, library_log, progress


class Lines(NoRun):
    def __init__(self):
        self.lines = []

    def log(self, text):
        self.lines.append(text)


def test_what_the_library_logs_is_passed_on_for_the_time_of_a_block():
    lines, logger = [], logging.getLogger("rbr.anything")
    with library_log(lines.append):
        logger.info("%d of %d", 1, 2)
        logger.debug("details")
        logging.getLogger("transformers").warning("not ours")
    logger.info("later")
    assert lines == ["1 of 2"]
    assert logging.getLogger("rbr").handlers == []


def test_progress_is_logged_now_and_then_and_at_the_end(monkeypatch):
    run, now = Lines(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    report = progress(run, "grading", every=10)
    for done in range(1, 31):
        now[0] += 1
        report(done, 30)
    assert run.lines == ["grading: 10/30", "grading: 20/30", "grading: 30/30"]
