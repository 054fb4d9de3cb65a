"""In CI a skipped test is a failure: it means that something was not tried."""

from __future__ import annotations

import os

import pytest

from tests.support.examples import register_profiles

register_profiles()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and exitstatus == 0 and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
