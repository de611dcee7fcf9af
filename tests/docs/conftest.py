import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def musproj(*arguments):
    return [sys.executable, "-m", "musproj", *arguments]


@pytest.fixture
def root():
    return ROOT


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, as a reader has one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # examples are imported by their path
    return tmp_path


@pytest.fixture
def take(folder):
    """Two seconds of a synthetic voice-like tone."""
    import numpy as np
    import soundfile

    seconds = np.arange(2 * 44_100) / 44_100
    tone = 0.1 * np.sin(2 * np.pi * 220 * seconds) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * seconds))
    path = folder / "take.wav"
    soundfile.write(path, np.column_stack([tone, tone]), 44_100, subtype="PCM_16")
    return path


@contextlib.contextmanager
def _running(command, **options):
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def running():
    """Run a command for the time of a block."""
    return _running


@pytest.fixture
def wait_for():
    """Wait until a URL answers."""
    return _wait_for


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def worker(folder):
    """`musproj work` on the folder's data."""
    with _running(musproj("work", "--concurrency", "1")):
        yield


@pytest.fixture
def server(folder, free_port):
    """`musproj serve` on a free port; its URL."""
    url = f"http://127.0.0.1:{free_port}"
    with _running(musproj("serve", "--port", str(free_port))):
        _wait_for(f"{url}/readyz")
        yield url


def _wait_for(url):
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
