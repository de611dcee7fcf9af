"""What every processor must do, as a class to inherit; needs pytest, numpy and soundfile.

class TestReverb(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return reverb
"""

import ctypes
import gc
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import attrs
import numpy as np
import pytest

from musproj.errors import JobCancelledError, ModelInvalidError, ProcessingError
from musproj.ports.processor import InputFile, ModelFile, Outcome, Processor
from musproj.processors import blocks
from musproj.testing import tones

CANCEL_SECONDS = 1.0
_SHORT_SECONDS, _LONG_SECONDS = 20.0, 60.0
_FLAT_SHARE = 1.10
_FLAT_SLACK_KIB = 8 * 1024
_RATE = 44_100


@attrs.define
class RecordingContext:
    """A context that remembers what it was told, and may cancel."""

    workdir: Path
    cancel_at: int | None = None
    """Cancel at this call of `check` or `progress`, counted from 0."""
    fractions: list[float] = attrs.field(factory=list[float])
    stages: list[str | None] = attrs.field(factory=list[str | None])
    warnings: list[dict[str, object]] = attrs.field(factory=list[dict[str, object]])
    models: Mapping[str, Path] = attrs.field(factory=dict[str, Path])
    """Model files by name."""
    calls: int = 0
    cancelled_at: float | None = None
    """Monotonic seconds."""

    def progress(self, fraction: float, stage: str | None = None) -> None:
        """Remember it."""
        self._count()
        self.fractions.append(fraction)
        self.stages.append(stage)

    def check(self) -> None:
        """Cancel when it is time."""
        self._count()

    def model(self, name: str) -> ModelFile:
        """Return one of `models`."""
        if name not in self.models:
            raise ModelInvalidError(f"There is no model {name!r}.", model=name)
        return ModelFile(name=name, path=self.models[name], sha256=digest(self.models[name]))

    def warn(self, code: str, message: str, **facts: object) -> None:
        """Remember it."""
        self.warnings.append({"code": code, "message": message, **facts})

    def codes(self) -> list[object]:
        """Return the codes of the warnings so far."""
        return [warning["code"] for warning in self.warnings]

    def _count(self) -> None:
        self.calls += 1
        if self.cancel_at is not None and self.calls > self.cancel_at:
            self.cancelled_at = self.cancelled_at or time.monotonic()
            raise JobCancelledError


MakeInputs = Callable[[float], dict[str, InputFile]]
"""Seconds → a new input file for every required port."""


@attrs.define
class Runner:
    """Runs one processor, each time in a new, empty work folder."""

    processor: Processor
    params: Any
    home: Path
    contexts: list[RecordingContext] = attrs.field(factory=list[RecordingContext])
    """Of the runs so far, also of those that failed."""

    def __call__(self, inputs: Mapping[str, InputFile], *, cancel_at: int | None = None) -> Outcome:
        """Run it."""
        workdir = self.home / f"work-{len(self.contexts)}"
        workdir.mkdir()
        self.contexts.append(RecordingContext(workdir, cancel_at))
        return self.processor.run(inputs, self.params, self.contexts[-1])

    @property
    def last(self) -> RecordingContext:
        """The context of the last run."""
        return self.contexts[-1]


class ProcessorContract:
    """Override `processor`; `params` and `sound` where the defaults do not suit it."""

    @pytest.fixture
    def processor(self) -> Processor:
        """Return the processor under test."""
        raise NotImplementedError("override the fixture `processor`")

    @pytest.fixture
    def params(self, processor: Processor) -> Any:
        """Return the parameters of every run."""
        return processor.spec.params()

    @pytest.fixture
    def sound(self) -> Callable[[float], tones.Samples]:
        """Return a function that makes an input of so many seconds, at 44,100 Hz."""
        return tones.music

    @pytest.fixture
    def make_inputs(self, processor: Processor, sound: Callable[[float], tones.Samples], tmp_path: Path) -> MakeInputs:
        """Return a function that makes a file of so many seconds for every required port."""

        def make(seconds: float) -> dict[str, InputFile]:
            folder = tmp_path / f"inputs-{seconds:g}"
            folder.mkdir(exist_ok=True)
            return {
                port.name: as_input(tones.write(folder / f"{port.name}.wav", sound(seconds), _RATE, "PCM_16"))
                for port in processor.spec.inputs
                if port.required
            }

        return make

    @pytest.fixture
    def run(self, processor: Processor, params: Any, tmp_path: Path) -> Runner:
        """Return what runs the processor."""
        return Runner(processor, params, tmp_path)

    def test_the_declaration_is_complete(self, processor: Processor) -> None:
        """Name, version and outputs are such that the queue, the CLI and the API can use them."""
        spec = processor.spec
        assert re.fullmatch(r"[a-z0-9_-]{1,32}", spec.name)
        assert spec.version
        assert bool(spec.outputs) == (spec.publishes != "result")
        assert attrs.has(spec.params)
        assert len({port.name for port in (*spec.inputs, *spec.outputs)}) == len(spec.inputs) + len(spec.outputs)

    def test_outputs_are_there_finite_and_decodable(
        self, processor: Processor, run: Runner, make_inputs: MakeInputs
    ) -> None:
        """Every required port has a non-empty file in the work folder, and no other port has one."""
        outcome = run(make_inputs(3.0))
        declared = {port.name: port for port in processor.spec.outputs}
        assert set(outcome.files) <= set(declared)
        assert {port.name for port in processor.spec.outputs if port.required} <= set(outcome.files)
        for name, path in outcome.files.items():
            assert path.is_file()
            assert not path.is_symlink()
            assert path.stat().st_size > 0
            assert path.resolve().is_relative_to(run.last.workdir.resolve())
            if any(kind.startswith("audio/") for kind in declared[name].media_types):
                assert np.isfinite(decode(path)).all()

    def test_inputs_are_not_touched_and_nothing_lies_outside_the_workdir(
        self, run: Runner, make_inputs: MakeInputs, tmp_path: Path
    ) -> None:
        """Only the work folder changes."""
        inputs = make_inputs(1.0)
        before = {path: digest(path) for path in tmp_path.rglob("*") if path.is_file()}
        run(inputs)
        after = {
            path: digest(path)
            for path in tmp_path.rglob("*")
            if path.is_file() and not path.is_relative_to(run.last.workdir)
        }
        assert after == before

    def test_data_is_json_without_holes(self, run: Runner, make_inputs: MakeInputs) -> None:
        """Facts survive JSON unchanged, with camelCase keys and without null, NaN or infinity."""
        data = run(make_inputs(3.0)).data
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        for key in every_key(data):
            assert re.fullmatch(r"[a-z][A-Za-z0-9]*", key), key

    def test_progress_never_falls_and_ends_at_one(self, run: Runner, make_inputs: MakeInputs) -> None:
        """The worker may believe what it is told."""
        run(make_inputs(5.0))
        fractions = run.last.fractions
        assert fractions == sorted(fractions)
        assert all(0 <= fraction <= 1 for fraction in fractions)
        assert fractions[-1] == 1

    def test_cancelling_passes_through_within_a_second(self, run: Runner, make_inputs: MakeInputs) -> None:
        """Wherever the cancellation meets the processor, it stops, and leaves no process behind."""
        inputs = make_inputs(20.0)
        run(inputs)
        total = run.last.calls
        children = child_processes()
        for at in sorted({0, 1, total // 2, total - 1}):
            try:
                run(inputs, cancel_at=at)
            except JobCancelledError:
                assert run.last.cancelled_at is not None
                assert time.monotonic() - run.last.cancelled_at < CANCEL_SECONDS
            else:  # one that looks up by the clock may have ended before
                assert run.last.calls <= at, "it swallowed the cancellation"
        assert child_processes() == children

    def test_runs_repeat(self, run: Runner, make_inputs: MakeInputs) -> None:
        """The same input and parameters give the same facts and the same decoded samples."""
        inputs = make_inputs(5.0)
        first, second = run(inputs), run(inputs)
        assert first.data == second.data
        assert set(first.files) == set(second.files)
        for name, path in first.files.items():
            assert same_content(path, second.files[name])

    def test_memory_does_not_grow_with_the_duration(self, run: Runner, make_inputs: MakeInputs) -> None:
        """Three times the length costs at most a tenth more."""
        short, long = make_inputs(_SHORT_SECONDS), make_inputs(_LONG_SECONDS)
        run(short)  # libraries and buffers that stay
        little = peak_growth_kib(lambda: run(short))
        much = peak_growth_kib(lambda: run(long))
        assert much <= little * _FLAT_SHARE + _FLAT_SLACK_KIB

    @pytest.mark.parametrize("name", sorted(tones.hostile_files()))
    def test_hostile_input_gives_a_listed_error_or_a_finite_end(
        self,
        run: Runner,
        make_inputs: MakeInputs,
        tmp_path: Path,
        name: str,
    ) -> None:
        """No file makes it raise anything that the job record has no code for."""
        inputs = make_inputs(1.0)
        path = tmp_path / "hostile"
        path.write_bytes(tones.hostile_files()[name])
        for port in inputs:
            try:
                outcome = run({**inputs, port: as_input(path)})
            except ProcessingError:
                continue  # every one of them has a code of its own in the job's record
            json.dumps(outcome.data, allow_nan=False)


def as_input(path: Path) -> InputFile:
    """Return `path` as a worker would hand it over."""
    return InputFile(path=path, sha256=digest(path))


def digest(path: Path) -> str:
    """Return the sha256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def decode(path: Path) -> tones.Samples:
    """Return the whole file as float32 (frames, channels)."""
    with blocks.reader(path) as source:
        return np.concatenate([block.copy() for _, block in source])


def same_content(one: Path, other: Path) -> bool:
    """Compare bytes, and where they differ the decoded samples: an Ogg stream has a random serial number."""
    if one.read_bytes() == other.read_bytes():
        return True
    try:
        return np.array_equal(decode(one), decode(other))
    except ProcessingError:
        return False


def every_key(value: Any) -> Iterator[str]:
    """Yield the keys of all objects in JSON data, refusing None."""
    assert value is not None
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield key
            yield from every_key(inner)
    elif isinstance(value, list | tuple):
        for inner in cast("list[Any]", value):
            yield from every_key(inner)


def child_processes() -> set[int]:
    """Return the ids of this process's children, where the system tells them."""
    return {int(pid) for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()}


def peak_growth_kib(action: Callable[[], object]) -> int:
    """Return by how much `action` raised the resident memory at its peak; Linux only, else skips."""
    _give_back_what_is_free()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets the peak
        before = _status_kib("VmRSS")
    except OSError:
        pytest.skip("only Linux tells the peak of resident memory, and not in every container")
    action()
    return max(0, _status_kib("VmHWM") - before)


def _give_back_what_is_free() -> None:
    """Let the allocator keep nothing of what came before, or a run that fits into it would seem to cost nothing."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)


def _status_kib(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise OSError(f"no {field}")
