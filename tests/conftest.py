"""What all tests share: Hypothesis profiles, and the rule that CI skips nothing in silence."""

import os
import shutil
import signal
from collections.abc import Callable, Generator

import pytest
from hypothesis import settings

IN_CI = "CI" in os.environ  # noqa: TID251 -- a fact about this run, not a setting of musproj

settings.register_profile("fast", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=300, deadline=None, print_blob=True)
settings.load_profile("fast")


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """Give the path of a program; a test that lacks it skips locally and fails where CI is set."""

    def require(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"needs the program {name!r}")
        return path

    return require


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what it puts into the background, and every child would inherit it: Ctrl-C reached nobody.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.CollectReport | pytest.TestReport) -> None:
    """Turn a skip into a failure where CI is set, unless the shipped suite skipped a power that an adapter lacks."""
    if not (IN_CI and report.skipped and isinstance(report.longrepr, tuple)):
        return  # an expected failure is "skipped" too, but tells no place
    file, _, reason = report.longrepr
    if "not given by this adapter's fixture" in reason:
        return
    report.outcome = "failed"
    report.longrepr = f"{file}: skipped where CI is set, so it would never run: {reason}"
