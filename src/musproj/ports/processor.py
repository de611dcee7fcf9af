"""What a processor is, what it declares, and what it may ask for while it runs."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import attrs

from musproj.domain.version import ProvenanceStep

DEFAULT_MB = 256
"""Assumed of a processor that declares nothing, for admission alone."""


@attrs.frozen(kw_only=True)
class AudioInfo:
    """Facts about an audio file; header claims only where nothing better is known."""

    container: str
    """`wav`, `flac`, `aiff`, `caf`, `mp3`, `ogg`, `m4a`, …"""
    codec: str | None = None
    """`pcm_s16`, `pcm_s24`, `pcm_f32`, `flac`, `aac`, `alac`, …"""
    sample_rate: int | None = None
    """Hz; None where no decoder is installed."""
    channels: int | None = None
    frames: int | None = None
    """None while unknown; never a size to allocate."""
    bits: int | None = None
    is_float: bool = False
    size_bytes: int

    @property
    def duration(self) -> float | None:
        """Seconds, or None while unknown."""
        if self.frames is None or not self.sample_rate:
            return None
        return self.frames / self.sample_rate


@attrs.frozen(kw_only=True)
class InputFile:
    """One input on the local disk, to be opened read-only."""

    path: Path
    sha256: str
    """Lower-case hex."""
    info: AudioInfo | None = None


@attrs.frozen
class Port:
    """One named input or output of a processor."""

    name: str
    kind: str
    media_types: tuple[str, ...] = ("audio/*",)
    required: bool = True


@attrs.frozen(kw_only=True)
class ModelFile:
    """A model that the operator installed."""

    name: str
    path: Path
    sha256: str
    """Lower-case hex."""


ABILITIES: Mapping[str, tuple[str, ...]] = {"codecs": ("av",), "onnx": ("onnxruntime",)}
"""What a job's `needs` may name beside processors → the modules that give it."""

_NEEDED_PROCESSOR = "processor:"


def processor_need(name: str) -> str:
    """Return how a job's `needs` names a processor that must be there beside that of its type."""
    return f"{_NEEDED_PROCESSOR}{name}"


def needed_processor(need: str) -> str | None:
    """Return the processor that `processor_need` named; None for another need."""
    return need.removeprefix(_NEEDED_PROCESSOR) if need.startswith(_NEEDED_PROCESSOR) else None


_SERVICE = "service:"


def service_need(name: str) -> str:
    """Return how a job's `needs` names an account at an outside service."""
    return f"{_SERVICE}{name}"


def needed_service(need: str) -> str | None:
    """Return the service that `service_need` named; None for another need."""
    return need.removeprefix(_SERVICE) if need.startswith(_SERVICE) else None


def no_needs(_params: Any) -> tuple[str, ...]:
    """Return nothing: what most processors need beside their extra, whatever their parameters."""
    return ()


@attrs.frozen(kw_only=True)
class RemoteTask:
    """Work that an outside service does, in its own words."""

    service: str
    request: Mapping[str, object]
    files: Mapping[str, str]
    """The service's label of a result → output port."""
    optional: frozenset[str] = frozenset()
    """Labels that may be missing."""
    changes_duration: bool = False
    then: "Callable[[Mapping[str, Path], Context], Outcome] | None" = None
    """Port → file of the results, to be worked on here before anything is published."""


@attrs.frozen(kw_only=True)
class ProcessorSpec:
    """What a processor declares; readable without any of its libraries."""

    name: str
    """The job type, `[a-z0-9_-]{1,32}`."""
    version: str
    """Bump it when output samples may change."""
    summary: str = ""
    params: type
    """Frozen attrs class; validators and `metadata` (unit, min, max, description) become the JSON Schema."""
    inputs: tuple[Port, ...] = (Port("input", "source"),)
    """Names are the keys of a job's inputs; a single one is named `input`."""
    outputs: tuple[Port, ...] = ()
    """The first is the primary file; empty for a mere result."""
    publishes: Literal["version", "attachment", "result"] = "version"
    moves_head: bool = False
    """A published version becomes what a plain download and a plain job take."""
    paid: bool = False
    memory_mb: int | Callable[[AudioInfo], int] | None = None
    """Declared peak; used for admission and as the base of the limit."""
    speed: float = 10.0
    """× realtime expected; gives the default time limit."""
    preload: tuple[str, ...] = ()
    """Modules that the worker imports once, before it forks."""
    extra: str | None = None
    """The extra without which a worker cannot run it."""
    requires: tuple[str, ...] = ()
    """Importable top-level modules that must be there to run it."""
    programs: tuple[str, ...] = ()
    """Programs that must be installed to run it."""
    needs: Callable[[Any], tuple[str, ...]] = no_needs
    """Parameters → what a run with them takes beside `extra`, as a job's `needs` names it: `codecs`."""
    for_params: "Callable[[Any], ProcessorSpec] | None" = None
    """Parameters → the declaration of a run with them, where it depends on them; see `given`."""
    steps: tuple[ProvenanceStep, ...] = ()
    """Of a chain that was given its parameters."""
    task: RemoteTask | None = None
    """What an outside service is asked for, of a processor that was given its parameters; `run` is not called then."""
    timeout_seconds: float | None = None
    """None: max(60 s, 10 × duration / speed), 3,600 s where the duration is unknown."""
    max_attempts: int = 5
    concurrency: int | None = None
    """Running jobs of this type in the whole installation."""

    def given(self, params: Any) -> "ProcessorSpec":
        """Return what is declared of a run with `params`."""
        return self if self.for_params is None else self.for_params(params)

    def declared_mb(self, info: AudioInfo | None) -> int | None:
        """Return what is declared for an input like `info`, in MiB; None where nothing is."""
        if self.memory_mb is None or isinstance(self.memory_mb, int):
            return self.memory_mb
        return int(self.memory_mb(info)) if info is not None else None


class Context(Protocol):
    """What a running processor may ask of its worker."""

    __slots__ = ()

    @property
    @abstractmethod
    def workdir(self) -> Path:
        """An empty private folder, removed afterwards."""

    @abstractmethod
    def progress(self, fraction: float, stage: str | None = None) -> None:
        """Tell how far the run is, 0 to 1, never falling; free to call.

        Raises:
            JobCancelledError: as `check`.
        """

    @abstractmethod
    def check(self) -> None:
        """Call it once per block.

        Raises:
            JobCancelledError: somebody cancelled the job; let it pass through.
        """

    @abstractmethod
    def model(self, name: str) -> ModelFile:
        """Return a model file of this installation; the provenance names it.

        Raises:
            ModelInvalidError: there is none of that name.
        """

    @abstractmethod
    def warn(self, code: str, message: str, **facts: object) -> None:
        """Record a warning in the result: `{code, message, …facts}` under `warnings`."""


@attrs.frozen
class Outcome:
    """What a run made."""

    files: Mapping[str, Path] = attrs.field(factory=dict[str, Path])
    """Output port name → file in the work folder."""
    data: Mapping[str, object] = attrs.field(factory=dict[str, object])
    """JSON-safe facts, camelCase keys, no None, NaN or infinity; they become the job's result."""


class Processor(Protocol):
    """Turns input files into output files or facts; one object serves many runs."""

    __slots__ = ()

    @property
    @abstractmethod
    def spec(self) -> ProcessorSpec:
        """The declaration."""

    @abstractmethod
    def run(self, inputs: Mapping[str, InputFile], params: Any, ctx: Context) -> Outcome:
        """Process `inputs`; write only below `ctx.workdir`; keep memory flat in the duration.

        Raises:
            ProcessingError: the input is at fault; its code tells the user.
            JobCancelledError: passed through from `ctx`.
        """


class Composite(Protocol):
    """A processor that is made of others."""

    __slots__ = ()

    @abstractmethod
    def over(self, find: Callable[[str], Processor]) -> Processor:
        """Return it for the installation whose processors `find` finds.

        `find` raises UnknownJobTypeError where there is none of that name.
        """


@attrs.frozen(kw_only=True)
class Decoded:
    """What came of a file that was decoded to its end."""

    duration: float
    """Seconds."""
    non_finite: int = 0
    """Samples that are no numbers."""


Decode: TypeAlias = Callable[[Path, Callable[[], None]], Decoded | None]
"""Decodes a whole untrusted file in the caller's process; None where no decoder here knows the format.

The callable is asked now and then whether to go on. Raises what `AudioProbe.probe` does, and `NonFiniteError` where
more than 1 % of the samples are no numbers.
"""


class AudioProbe(Protocol):
    """Reads the header of an untrusted audio file without endangering the caller's process."""

    __slots__ = ()

    @abstractmethod
    def probe(self, path: Path) -> AudioInfo:
        """Return the facts of `path`; sample rate and channels are None where no decoder is installed.

        Raises:
            NotAudioError: unknown magic, empty file, text.
            AudioCorruptError: the header cannot be decoded.
            AudioEmptyError: it holds no frame.
            LimitExceededError: channels, rate or duration over the limits.
            NonFiniteError: the header claims a value that is no number.
        """

    @abstractmethod
    def close(self) -> None:
        """End the helper process, if one runs."""
