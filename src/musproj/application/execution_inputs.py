"""Bring a job's inputs onto the local disk, as the very bytes that their records name."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import attrs

from musproj.application.digests import blocks_of, sha256_of
from musproj.domain import media
from musproj.domain.ids import AssetId, Owner
from musproj.domain.job import Job, JobInput
from musproj.domain.keys import parse_file_key
from musproj.domain.version import File, ProvenanceInput, Version
from musproj.errors import ChecksumMismatchError
from musproj.ports.processor import AudioInfo, InputFile
from musproj.ports.storage import LocalFiles, Storage


class VersionRecords(Protocol):
    """The one look that a run takes at the records; every `AssetStore` is one."""

    @abstractmethod
    def version(self, owner: Owner, asset_id: AssetId, number: int) -> Version:
        """Return a published version.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            VersionNotFoundError: no such number was published.
        """


@attrs.frozen(kw_only=True)
class RecordedInput:
    """One input: what the job asked for, and its record."""

    wanted: JobInput
    record: File

    @property
    def provenance(self) -> ProvenanceInput:
        """What a version made from it records of it."""
        return ProvenanceInput(
            port=self.wanted.port,
            asset_id=self.wanted.asset_id,
            version=self.wanted.version,
            file=self.record.name,
            sha256=self.record.sha256,
        )


@attrs.frozen(kw_only=True)
class FetchedInput(RecordedInput):
    """One input with its bytes on this disk."""

    file: InputFile


@attrs.frozen(kw_only=True)
class Fetcher:
    """Reads objects; a store whose objects are files on this host is read in place."""

    storage: Storage
    local_files: LocalFiles | None
    records: VersionRecords

    def fetch(self, job: Job, folder: Path, check: Callable[[], None]) -> tuple[FetchedInput, ...]:
        """Return every input of `job`, verified against its sha256; copies go below `folder`.

        `check` is called once per block and may raise to end it.

        Raises:
            NotFoundError: a record or an object is gone.
            ChecksumMismatchError: the bytes differ from the record.
            ObjectChangedError: the object is not the recorded one.
            BackendUnavailableError: a store cannot be reached.
        """
        return tuple(self.bring(given, folder, check) for given in self.look_up(job))

    def look_up(self, job: Job) -> tuple[RecordedInput, ...]:
        """Return the records of every input of `job`.

        Raises:
            NotFoundError: a record is gone.
            BackendUnavailableError: the records cannot be reached.
        """
        return tuple(self._look_up(job.owner, wanted) for wanted in job.inputs)

    def _look_up(self, owner: Owner, wanted: JobInput) -> RecordedInput:
        version = self.records.version(owner, wanted.asset_id, wanted.version)
        return RecordedInput(wanted=wanted, record=version.file(wanted.file))

    def bring(self, given: RecordedInput, folder: Path, check: Callable[[], None]) -> FetchedInput:
        """Return one input, as `fetch` does."""
        wanted, record = given.wanted, given.record
        if self.local_files is not None:
            path = self.local_files.path(record.object_key)
            found = sha256_of(_checked(blocks_of(path), check))
        else:
            path = folder / f"{wanted.port}{_suffix(record)}"
            with path.open("xb") as copy:
                blocks = self.storage.read(record.object_key, etag=record.etag)
                found = sha256_of(_checked(blocks, check), copy.write)
        if found != record.sha256:
            raise ChecksumMismatchError(
                f"{record.object_key} has the sha256 {found}, its record says {record.sha256}.", key=record.object_key
            )
        return FetchedInput(
            wanted=wanted, record=record, file=InputFile(path=path, sha256=found, info=recorded_info(record))
        )


def recorded_info(record: File) -> AudioInfo:
    """Return what a file's record tells of its audio."""
    frames = None
    if record.duration is not None and record.sample_rate is not None:
        frames = round(record.duration * record.sample_rate)
    return AudioInfo(
        container=media.container_of(record.content_type, record.object_key) or "",
        sample_rate=record.sample_rate,
        channels=record.channels,
        frames=frames,
        size_bytes=record.size_bytes,
    )


def _suffix(record: File) -> str:
    parts = parse_file_key(record.object_key)
    return f".{parts.extension}" if parts else ""


def _checked(blocks: Iterable[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    for block in blocks:
        check()
        yield block
