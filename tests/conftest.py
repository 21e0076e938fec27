"""Shared fixtures. A test that needs the real data or a browser is skipped where there is none, except
with COVID_CNN_NO_SKIPS set (as CI does): there a skip is a failure, so that nothing goes untested unseen."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real datasets, named by COVID_CNN_REAL_DATA."""
    folder = os.environ.get("COVID_CNN_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("COVID_CNN_REAL_DATA names no folder with the real datasets")
    return Path(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("COVID_CNN_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be: {report.longrepr[-1] if report.longrepr else ''}"
    return report
