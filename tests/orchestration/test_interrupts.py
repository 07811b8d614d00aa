"""An interrupt that meets a destructor is sent again."""

import subprocess
import sys

import pytest

SWALLOWED = """
import os, signal, time
from orchestration.interrupts import resend_swallowed_interrupts

class Destroyed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

{install}
try:
    Destroyed()
    time.sleep({wait})
    print("went on")
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize(
    ("install", "wait", "outcome"),
    [("", 0.5, "went on"), ("resend_swallowed_interrupts()", 60, "stopped")],
)
def test_an_interrupt_in_a_destructor_is_sent_again(root, install, wait, outcome):
    program = SWALLOWED.format(install=install, wait=wait)
    # Python handles SIGINT only where the parent does not ignore it.
    program = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n" + program
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=50
    )
    assert found.stdout.split("\n")[-2] == outcome
    assert ("Traceback" in found.stderr) == (outcome == "went on")


def test_another_error_of_a_destructor_is_shown(root):
    program = (
        "from orchestration.interrupts import resend_swallowed_interrupts\n"
        "class Destroyed:\n"
        "    def __del__(self): raise ValueError('told')\n"
        "resend_swallowed_interrupts()\nDestroyed()\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=50
    )
    assert "ValueError: told" in found.stderr
