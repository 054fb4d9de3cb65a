"""The profiles of examples, the distribution of tests, and: in CI a skipped test is a failure, for it was not tried."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.support.examples import register_profiles

register_profiles()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    if config.getvalue("dist") != "loadgroup":
        return None
    from tests.support.sharing import Groups  # older Pythons run the plugin's tests without xdist

    return Groups(config, log)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and exitstatus == 0 and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
