"""What a service made is decoded to its end before anybody may see it."""

import shutil

import attrs
import numpy as np
import pytest
import soundfile

from musproj.application.remote_results import ResultReader
from musproj.domain.remote import Cost, RemoteOp
from musproj.errors import JobCancelledError
from musproj.ports.processor import RemoteTask
from musproj.ports.remote import CallClass, CallError, Fetched, RemoteOutput
from musproj.processors.decode import decode_file
from musproj.processors.limits import DEFAULT_LIMITS
from musproj.worker.child import InProcessProbe

RATE = 8_000
TASK = RemoteTask(service="shelf", request={}, files={"made": "enhanced"})
OP = RemoteOp(service="shelf", account="default", token="t", request_digest="d", cost=Cost(unit="run", estimate=1.0))


@attrs.frozen
class FakeShelf:
    """A service that made one file long ago."""

    path: object
    name: str = "shelf"

    def outputs(self, _op):
        return [RemoteOutput(label="made", url="https://shelf.example/made")]

    def fetch(self, _output, target, *, max_bytes, check):
        shutil.copy(self.path, target)
        return Fetched(size=target.stat().st_size, sha256="", md5="")


@attrs.define
class Table:
    """Where a result is read."""

    folder: object
    warnings: list = attrs.field(factory=list)

    def made(self, samples, subtype="FLOAT", extension="wav"):
        path = self.folder / f"made.{extension}"
        soundfile.write(path, samples, RATE, subtype)
        return path

    def read(self, path, check=lambda: None, task=TASK):
        reader = ResultReader(
            folder=self.folder,
            probe=InProcessProbe(DEFAULT_LIMITS),
            decode=decode_file,
            duration=1.0,
            max_bytes=1 << 20,
            check=check,
            warn=lambda code, message: self.warnings.append((code, message)),
        )
        return reader.read(FakeShelf(path), OP, task)


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path)


def noise(**odd):
    samples = np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)
    samples[: odd.get("count", 0)] = odd.get("value", 0)
    return samples


def test_a_sound_one_is_passed_on_untouched(table):
    path = table.made(noise())
    content = path.read_bytes()
    found = table.read(path)
    assert found["enhanced"].read_bytes() == content
    assert table.warnings == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_few_samples_that_are_no_numbers_are_told_of(table, value):
    table.read(table.made(noise(count=3, value=value)))
    assert table.warnings == [("nonFinite", "3 samples of enhanced are no numbers.")]


def test_more_of_them_are_no_result(table):
    with pytest.raises(CallError, match="enhanced is not usable") as caught:
        table.read(table.made(noise(count=RATE // 10, value=np.nan)))
    assert (caught.value.kind, caught.value.code) == (CallClass.MISMATCH, "non_finite")


def test_damage_behind_the_header_is_found(table):
    path = table.made(noise(), subtype="PCM_16", extension="flac")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(CallError, match="enhanced is not usable") as caught:
        table.read(path)
    assert caught.value.kind is CallClass.MISMATCH


@pytest.mark.parametrize("changes_duration", [False, True])
def test_an_end_that_its_header_does_not_tell_of_is_found(table, changes_duration):
    path = table.made(noise(), subtype="PCM_16", extension="flac")
    path.write_bytes(path.read_bytes()[:6_000])
    with pytest.raises(CallError, match=r"enhanced (lasts 0\.\d+ s, not 1\.00 s|is not usable)") as caught:
        table.read(path, task=attrs.evolve(TASK, changes_duration=changes_duration))
    assert caught.value.kind is CallClass.MISMATCH


def test_another_length_is_known_by_the_header(table):
    with pytest.raises(CallError, match=r"enhanced lasts 2\.00 s, not 1\.00 s"):
        table.read(table.made(np.tile(noise(), 2)), check=lambda: pytest.fail("it was decoded"))


def test_it_stops_when_it_is_told(table):
    def stop():
        raise JobCancelledError

    with pytest.raises(JobCancelledError):
        table.read(table.made(noise()), check=stop)
