"""From checked outputs to a committed job: number, objects, one commit."""

import random
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import attrs

from musproj.application.execution_outputs import Output
from musproj.domain.ids import AssetId, JobId
from musproj.domain.job import Job
from musproj.domain.keys import ObjectKey, attachment_key, file_key, version_prefix
from musproj.domain.ledger import (
    AssetDeleted,
    CancelledFirst,
    CommitAnswer,
    Committed,
    NumberTaken,
    ReserveAnswer,
    Reserved,
    Stale,
)
from musproj.domain.version import Attachment, File, Provenance, Version
from musproj.errors import (
    AssetNotReadyError,
    BackendUnavailableError,
    ObjectExistsError,
    ObjectMissingError,
    OutputConflictError,
)
from musproj.ports.clock import Clock
from musproj.ports.jobs import Publication
from musproj.ports.processor import ProcessorSpec
from musproj.ports.storage import Storage, StoredObject

T = TypeVar("T")

MAX_RENUMBERINGS = 20
"""Numbers that a run gives up for foreign objects before it lets the next attempt go on."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
"""Between two tries of a call to a store that is away."""

RunEnd = Committed | CancelledFirst | Stale
"""How a run that raised nothing ended."""


class RunLedger(Protocol):
    """The two questions of a run that has something to publish; every `JobStore` answers them."""

    @abstractmethod
    def reserve(self, job_id: JobId, token: str, *, above: int = 0) -> ReserveAnswer:
        """Return the job's version number; where `above` is at least that, a higher one."""

    @abstractmethod
    def commit(self, job_id: JobId, token: str, publication: Publication) -> CommitAnswer:
        """Publish and finish in one step; a repeat with the same token gives the first one's answer."""


@attrs.frozen(kw_only=True)
class Product:
    """What a run made: checked outputs, a result, and where both come from."""

    spec: ProcessorSpec
    outputs: Sequence[Output]
    result: Mapping[str, object] | None
    provenance: Provenance


class _SupersededError(Exception):
    """Another run holds the job."""


@attrs.frozen(kw_only=True)
class Publisher:
    """Uploads and commits; a store that is away is waited for, because the work is done and would be lost."""

    storage: Storage
    ledger: RunLedger
    clock: Clock
    sleep: Callable[[float], None] = time.sleep

    def publish(self, job: Job, token: str, product: Product, check: Callable[[], None]) -> RunEnd:
        """Make `product` the effect of `job`.

        `check` is called while a store is waited for, and may raise to end it.

        Raises:
            OutputConflictError: a differing object lies under the number; the next attempt has another one.
            AssetNotReadyError: the asset was deleted meanwhile.
            StorageFullError: there is no room for the outputs.
        """
        run = _Run(job=job, token=token, product=product, publisher=self, check=check)
        try:
            match product.spec.publishes:
                case "version":
                    return run.publish_version()
                case "attachment":
                    return run.publish_attachments()
                case "result":
                    return run.finish(Publication(result=product.result))
        except _SupersededError:
            return Stale()


@attrs.frozen(kw_only=True)
class _Run:
    job: Job
    token: str
    product: Product
    publisher: Publisher
    check: Callable[[], None]

    def publish_version(self) -> RunEnd:
        number = self._free_number(above=0)
        for _ in range(MAX_RENUMBERINGS):
            answer = self._commit(self._version(number, self.publisher.clock.now()))
            if not isinstance(answer, NumberTaken):
                return _end(answer, self.job.asset_id)
            number = self._free_number(above=number)
        raise OutputConflictError(f"Every number up to {number} of asset {self.job.asset_id} is taken.")

    def publish_attachments(self) -> RunEnd:
        now = self.publisher.clock.now()
        version = self.job.input_version
        attachments = tuple(
            Attachment(
                version=version,
                file=self._upload(self._attachment_key(output), output),
                job_id=self.job.job_id,
                created_at=now,
                provenance=self.product.provenance,
            )
            for output in self.product.outputs
        )
        return self.finish(Publication(attachments=attachments, result=self.product.result))

    def finish(self, publication: Publication) -> RunEnd:
        return _end(self._commit(publication), self.job.asset_id)

    # ── numbers ──

    def _free_number(self, above: int) -> int:
        """Return a reserved number under which no other job's object lies.

        A store of records that lost its last writes hands a number out again whose objects are still there.
        """
        number = self._reserve(above)
        for _ in range(MAX_RENUMBERINGS):
            if not self._is_taken(number):
                return number
            number = self._reserve(above=number)
        raise OutputConflictError(f"Every number up to {number} of asset {self.job.asset_id} has foreign objects.")

    def _reserve(self, above: int) -> int:
        ledger, job = self.publisher.ledger, self.job
        match self._persist(lambda: ledger.reserve(job.job_id, self.token, above=above)):
            case Reserved(number):
                return number
            case AssetDeleted():
                raise _deleted(job.asset_id)
            case Stale():
                raise _SupersededError

    def _is_taken(self, number: int) -> bool:
        return self._persist(lambda: any(self._foreign_objects(number)))

    def _foreign_objects(self, number: int) -> list[ObjectKey]:
        storage = self.publisher.storage
        keys = [stored.key for stored in storage.list(version_prefix(self.job.asset_id, number))]
        return [key for key in keys if storage.stat(key).metadata.get("musproj-job") != self.job.job_id]

    # ── objects ──

    def _version(self, number: int, now: datetime) -> Publication:
        product, job = self.product, self.job
        files = tuple(
            self._upload(file_key(job.asset_id, number, output.port.name, output.extension), output, number)
            for output in product.outputs
        )
        version = Version(
            number=number,
            kind=product.outputs[0].port.kind,
            files=files,
            created_at=now,
            from_version=job.input_version,
            provenance=product.provenance,
        )
        return Publication(version=version, moves_head=product.spec.moves_head, result=product.result)

    def _attachment_key(self, output: Output) -> ObjectKey:
        job = self.job
        return attachment_key(job.asset_id, job.input_version, output.port.name, job.job_id, output.extension)

    def _upload(self, key: ObjectKey, output: Output, number: int | None = None) -> File:
        try:
            stored = self._persist(lambda: self._put(key, output))
        except ObjectExistsError:
            stored = self._adopt(key, output, number)
        return File(
            name=output.port.name,
            kind=output.port.kind,
            object_key=key,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256 or stored.metadata.get("sha256") or output.sha256,
            etag=stored.etag,
            content_type=output.content_type,
            duration=output.info.duration if output.info else None,
            sample_rate=output.info.sample_rate if output.info else None,
            channels=output.info.channels if output.info else None,
        )

    def _put(self, key: ObjectKey, output: Output) -> StoredObject:
        with output.path.open("rb") as source:
            return self.publisher.storage.put(
                key,
                source,
                size=output.size_bytes,
                content_type=output.content_type,
                sha256=output.sha256,
                metadata={"musproj-job": self.job.job_id, "sha256": output.sha256},
            )

    def _adopt(self, key: ObjectKey, output: Output, number: int | None) -> StoredObject:
        """Return what lies under `key` where an earlier put of this job made it, equal to what was just made.

        Raises:
            OutputConflictError: it differs; the number is given up, so that a processor that is not bit-exact does
                not fail for ever on its own debris. Nothing is deleted: another run may be committing it.
        """
        try:
            stored = self._persist(lambda: self.publisher.storage.stat(key))
        except ObjectMissingError:
            raise OutputConflictError(f"{key} was there and is gone again.", key=key) from None
        is_ours = stored.metadata.get("musproj-job") == self.job.job_id
        is_equal = stored.size_bytes == output.size_bytes and output.sha256 in (
            stored.sha256,
            stored.metadata.get("sha256"),
        )
        # An attachment has no number to change: same job, same inputs, as good.
        if is_ours and (is_equal or number is None):
            return stored
        if number is not None:
            self._reserve(above=number)
        raise OutputConflictError(f"A differing object lies under {key}.", key=key)

    # ── calls ──

    def _commit(self, publication: Publication) -> CommitAnswer:
        return self._persist(lambda: self.publisher.ledger.commit(self.job.job_id, self.token, publication))

    def _persist(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, repeated while its store is away; each call here may be repeated."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                return call()
            except BackendUnavailableError:
                self.check()
                self.publisher.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter, no secret
                pause = min(2 * pause, LONGEST_PAUSE_S)


def _end(answer: CommitAnswer, asset_id: AssetId) -> RunEnd:
    match answer:
        case AssetDeleted():
            raise _deleted(asset_id)
        case NumberTaken():
            raise AssertionError(answer)
        case _:
            return answer


def _deleted(asset_id: AssetId) -> AssetNotReadyError:
    return AssetNotReadyError(f"Asset {asset_id} was deleted while the job ran.", asset_id=asset_id)
