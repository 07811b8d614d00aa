"""CI fails on a skip that is not on the list."""

import pytest

pytest_plugins = ["pytester"]

TESTS = """
    import pytest

    @pytest.mark.skip(reason={reason!r})
    def test_nothing():
        pass
"""


@pytest.fixture
def session(pytester, root, monkeypatch):
    """Runs a test that is skipped for a reason; returns the result."""
    pytester.makeconftest((root / "tests" / "conftest.py").read_text())

    def run(reason, ci):
        monkeypatch.delenv("CI", raising=False)
        if ci:
            monkeypatch.setenv("CI", "true")
        pytester.makepyfile(TESTS.format(reason=reason))
        return pytester.runpytest_subprocess()

    return run


def test_a_skip_that_is_not_on_the_list_fails_in_ci_alone(session):
    found = session("it is Friday", ci=True)
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    found.stdout.fnmatch_lines(["1: NOT ALLOWED IN CI: it is Friday"])
    found = session("it is Friday", ci=False)
    assert found.ret == pytest.ExitCode.OK
    found.stdout.fnmatch_lines(["1: it is Friday"])


def test_one_on_the_list_is_listed_and_passes(session):
    found = session("RBR_LONG=1 runs it", ci=True)
    assert found.ret == pytest.ExitCode.OK
    found.stdout.fnmatch_lines(["1: RBR_LONG=1 runs it"])
