"""What the tests of the processors share."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from musproj.testing.processors import RecordingContext


@pytest.fixture
def ctx(tmp_path: Path) -> RecordingContext:
    """Give a context with an empty work folder."""
    workdir = tmp_path / "work"
    workdir.mkdir()
    return RecordingContext(workdir)


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Give a function that writes bytes to a file whose name tells nothing."""
    count = 0

    def write(data: bytes, name: str = "upload") -> Path:
        nonlocal count
        count += 1
        path = tmp_path / f"{name}-{count}"
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def libebur128() -> Callable[..., tuple[float, float, float]]:
    """Give a function: samples and rate → integrated loudness, range and true peak by an independent meter.

    Its range looks once a second, ours ten times.
    """
    meter = pytest.importorskip("pyebur128")

    def measure(samples: NDArray[np.float32], rate: int) -> tuple[float, float, float]:
        channels = samples.shape[1]
        modes = meter.MeasurementMode
        state = meter.R128State(channels, rate, modes.MODE_I | modes.MODE_LRA | modes.MODE_TRUE_PEAK)
        state.add_frames(np.ascontiguousarray(samples, np.float32).reshape(-1), len(samples))
        peak = max(meter.get_true_peak(state, channel) for channel in range(channels))
        return meter.get_loudness_global(state), meter.get_loudness_range(state), 20 * float(np.log10(peak))

    return measure


@pytest.fixture
def told_keys() -> Callable[[str], set[str]]:
    """Give a function: a processor's name → the keys that its page lists for the result."""

    def keys(name: str) -> set[str]:
        page = (Path(__file__).parents[3] / f"docs/reference/processors/{name}.md").read_text(encoding="utf-8")
        table = re.search(rf"^#+ Result of {name}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
        assert table
        rows = [line for line in table[1].splitlines() if line.startswith("|")][2:]
        return {key for row in rows for key in re.findall(r"`(\w+)`", row.split("|")[1])}

    return keys
