"""What a service made, brought here and looked at; nothing that it says of its results is believed."""

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from musproj.domain import media
from musproj.domain.remote import RemoteOp
from musproj.errors import JobCancelledError, ProcessingError
from musproj.ports.processor import AudioProbe, Decode, RemoteTask
from musproj.ports.remote import CallClass, CallError, Fetched, RemoteOutput, RemoteService

PCM_FACTOR = 4
"""A result may be so many times as large as its input is as PCM of 32 bits."""
LEAST_CAP_BYTES = 64 << 20
OFF_BY_S, OFF_BY_SHARE = 0.5, 0.01
"""How far the duration of a result may be from its input's, or from what its header claims."""


@attrs.define(kw_only=True, eq=False)
class ResultReader:
    """Fetches the results of one operation into `folder`."""

    folder: Path
    probe: AudioProbe
    decode: Decode
    duration: float | None
    """Of the input, in seconds."""
    max_bytes: int
    """What the store takes in one piece, and more than any result of this input can have."""
    check: Callable[[], None]
    warn: Callable[[str, str], None]

    def read(self, service: RemoteService, op: RemoteOp, task: RemoteTask) -> Mapping[str, Path]:
        """Return output port → file.

        Raises:
            CallError: the service, or its results, cannot be had; MISMATCH where a result is missing, damaged or of
                another length, and another try may help.
        """
        found = {output.label: output for output in service.outputs(op)}
        missing = set(task.files) - set(found) - task.optional
        if missing:
            raise mismatch("missing", f"{service.name} made no {', '.join(sorted(missing))}.")
        return {
            port: self._read_one(service, op, task, found[label], port)
            for label, port in task.files.items()
            if label in found
        }

    def _read_one(
        self, service: RemoteService, op: RemoteOp, task: RemoteTask, output: RemoteOutput, port: str
    ) -> Path:
        part = self.folder / f"{port}.fetched"
        fetched, output = self._fetch(service, op, output, part)
        if output.md5 is not None and fetched.md5 != output.md5:
            self._doubt_checksum(service, output, part, fetched)
        path = part.rename(self.folder / f"{port}.{_extension(part)}")
        self._look(path, task)
        return path

    def _fetch(
        self, service: RemoteService, op: RemoteOp, output: RemoteOutput, part: Path
    ) -> tuple[Fetched, RemoteOutput]:
        """Download it; an address that is no longer good is asked for once more."""
        try:
            return self._download(service, output, part), output
        except CallError as exc:
            if exc.kind is not CallClass.STALE:
                raise
        fresh = next((again for again in service.outputs(op) if again.label == output.label), output)
        return self._download(service, fresh, part), fresh

    def _download(self, service: RemoteService, output: RemoteOutput, part: Path) -> Fetched:
        return service.fetch(output, part, max_bytes=self.max_bytes, check=self.check)

    def _doubt_checksum(self, service: RemoteService, output: RemoteOutput, part: Path, first: Fetched) -> None:
        """Two equal downloads of the right size that differ from the checksum: it is evidently another one's."""
        again = self._download(service, output, part)
        if again.sha256 != first.sha256 or again.size != output.size:
            raise mismatch("checksum", f"The bytes of {output.label} differ from {service.name}'s checksum.")
        self.warn("checksumIgnored", f"{service.name}'s checksum of {output.label} is not the file's MD5.")

    def _look(self, path: Path, task: RemoteTask) -> None:
        """Believe the header as little as the service: what is short to check comes first."""
        try:
            info = self.probe.probe(path)
        except ProcessingError as exc:
            raise _unusable(path, exc) from exc
        if info.frames == 0:
            raise mismatch("audio_empty", f"{path.stem} holds no audio frame.")
        expected = info.duration if task.changes_duration else self.duration
        _compare(path, info.duration, expected)
        try:
            decoded = self.decode(path, self.check)
        except JobCancelledError:
            raise
        except ProcessingError as exc:
            raise _unusable(path, exc) from exc
        if decoded is None:
            return
        _compare(path, decoded.duration, expected)
        if decoded.non_finite:  # kept as it was paid for: every processor here reads such samples as 0
            self.warn("nonFinite", f"{decoded.non_finite} samples of {path.stem} are no numbers.")


def _compare(path: Path, duration: float | None, expected: float | None) -> None:
    if duration is None or expected is None:
        return
    if abs(duration - expected) > max(OFF_BY_S, OFF_BY_SHARE * expected):
        raise mismatch("duration", f"{path.stem} lasts {duration:.2f} s, not {expected:.2f} s.")


def _unusable(path: Path, exc: ProcessingError) -> CallError:
    return mismatch(exc.code, f"{path.stem} is not usable: {exc.message}")


def mismatch(code: str, message: str) -> CallError:
    """Return the failure of a result that is not what it should be."""
    return CallError(CallClass.MISMATCH, message, code=code)


def largest_result(rate: int | None, channels: int | None, duration: float | None, store: int | None) -> int:
    """Return how many bytes a result may have: four times the input as PCM, and what the store takes at once."""
    pcm = round((rate or 48_000) * (channels or 2) * 4 * (duration or 21_600.0))
    most = max(LEAST_CAP_BYTES, PCM_FACTOR * pcm)
    return min(most, 8 << 30) if store is None else min(most, store, 8 << 30)


def _extension(path: Path) -> str:
    with path.open("rb") as source:
        return media.sniff(source.read(media.SNIFF_BYTES)) or "bin"
