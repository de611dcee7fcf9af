"""What all tests share: Hypothesis profiles, real servers, and the rule that CI skips nothing in silence."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:  # a driver costs only the tests that need it
    from musproj.testing.redis_server import RedisServer
    from musproj.testing.swift import SwiftServer

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


@pytest.fixture(scope="session")
def redis_server(require_tool: Callable[[str], str]) -> "Iterator[RedisServer]":
    """Give a redis-server, empty at the start; its tests keep apart by prefixes and names of queues."""
    require_tool("redis-server")
    from musproj.testing.redis_server import RedisServer

    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def swift_environment(request: pytest.FixtureRequest) -> Path:
    """Give a virtual environment with OpenStack Swift, installed once and kept in pytest's cache."""
    folder = Path(request.config.cache.mkdir("swift-environment"))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the workers of one run share it
        if not (folder / "complete").exists():
            try:
                for command in ([sys.executable, "-m", "venv", folder], [folder / "bin/pip", "install", *SWIFT]):
                    subprocess.run(command, check=True, capture_output=True, text=True)
            except subprocess.CalledProcessError as exc:
                pytest.skip(f"needs OpenStack Swift, which pip cannot install: {exc.stderr[-500:]}")
            (folder / "complete").touch()
    return folder


SWIFT = ("swift>=2.35", "pyeclib>=1.6", "setuptools<81")  # pkg_resources, which Swift imports, is gone from 81 on


@pytest.fixture(scope="session")
def swift_server(swift_environment: Path) -> "Iterator[SwiftServer]":
    """Give an S3 server that verifies signatures."""
    from musproj.testing.swift import SwiftServer

    with SwiftServer(swift_environment) as server:
        yield server


@pytest.fixture(scope="session")
def r2_server(swift_environment: Path) -> "Iterator[SwiftServer]":
    """Give the same behind the layer that behaves as Cloudflare R2 does."""
    from musproj.testing.swift import SwiftServer

    with SwiftServer(swift_environment, r2=True) as server:
        yield server


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
