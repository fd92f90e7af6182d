"""What all tests share: where the real data are, and that they are not skipped in silence."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("COHORTSEG_DATA", ROOT.parent / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of real data are skipped with a clear word where there are none."""
    if DATA.is_dir():
        return
    for item in items:
        if item.get_closest_marker("data"):
            item.add_marker(pytest.mark.skip(reason=f"no real data at {DATA} (set COHORTSEG_DATA)"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests used real data."""
    used, skipped = _data_tests(terminalreporter)
    terminalreporter.write_line(f"real data ({DATA}): {len(used)} tests used them, {len(skipped)} skipped")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where the data are, no test of them may be skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if DATA.is_dir() and reporter is not None and _data_tests(reporter)[1]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _data_tests(reporter: pytest.TerminalReporter) -> tuple[list[str], list[str]]:
    """Names of the tests of real data that ran, and that were skipped."""

    def names(outcome: str) -> list[str]:
        reports = reporter.stats.get(outcome, [])
        return [report.nodeid for report in reports if "data" in getattr(report, "keywords", {})]

    return names("passed") + names("failed"), names("skipped")
