"""Every error that musproj raises on purpose.

    MusProjError
    ├── NotFoundError            unknown id, or an id of another owner
    │   ├── AssetNotFoundError   JobNotFoundError   VersionNotFoundError   FileNotFoundInVersionError
    │   ├── PresetNotFoundError
    │   └── ObjectMissingError   the record is there, its object is not
    ├── ConflictError            the state of things forbids it
    │   ├── AssetNotReadyError   UploadMissingError   UploadMismatchError   ObjectExistsError
    │   ├── ObjectChangedError   JobAlreadyFinishedError   JobNotRetryableError
    │   ├── IdempotencyMismatchError   PreconditionFailedError   IllegalTransitionError
    ├── InvalidError             the request is wrong; `violations` lists each place
    │   ├── InvalidParamsError   UnknownJobTypeError   PayloadTooLargeError   InvalidCursorError
    ├── ProcessingError          the audio or its processing failed; `retryable` tells whether again helps
    │   ├── NotAudioError   UnsupportedFormatError   AudioCorruptError   AudioEmptyError
    │   ├── AudioTruncatedError   AudioSilentError   NonFiniteError   LimitExceededError
    │   ├── EncodeUnsupportedError   ChecksumMismatchError   OutputConflictError   OutputInvalidError
    │   ├── LoopNotFoundError   ModelInvalidError
    │   ├── CodecCrashedError   ProcessorTimeoutError   OutOfMemoryError   WorkerCrashedError
    │   ├── WorkerLostError   DeadlineExceededError   CorruptRecordError   JobCancelledError
    │   └── RemoteError          an outside service did not do its part
    │       ├── RemoteUnavailableError   RemoteRejectedError   RemoteAuthError   RemoteQuotaError
    │       ├── RemoteLostError   RemoteDeadlineError   RemoteCancelledError   RemoteHostRefusedError
    │       ├── RemoteResultExpiredError   RemoteResultInvalidError   RemoteRequestChangedError
    │       └── NeedsJobError   BudgetExceededError
    ├── UnavailableError         a store or the disk cannot serve now; try again
    │   └── BackendUnavailableError   StorageFullError   StorageDeniedError   ClockSkewError
    └── ConfigurationError       settings, extras, versions: mend the installation
        └── MissingExtraError   UnknownPluginError   SchemaTooNewError

`code` is stable public API: HTTP problems, `--json` errors, logs and job records carry the same string.
"""

from typing import ClassVar

import attrs


@attrs.frozen
class Violation:
    """One wrong place of a request."""

    pointer: str
    """RFC 6901 pointer into the body, or the name of a query parameter or header."""
    code: str
    detail: str


class MusProjError(Exception):
    """An error that musproj raises on purpose; its text tells how to mend it."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, hint: str | None = None, **facts: object) -> None:
        """Keep `facts` (ids, limits, values) as data beside the text; the docstring is the default text."""
        self.message = message or (type(self).__doc__ or self.code).strip().splitlines()[0]
        self.hint = hint
        self.facts = facts
        super().__init__(self.message)


# ── not found ────────────────────────────────────────────────────────────────────────────────────


class NotFoundError(MusProjError):
    """There is nothing of that name."""

    code = "not_found"


class AssetNotFoundError(NotFoundError):
    """No asset has this id."""

    code = "asset_not_found"


class JobNotFoundError(NotFoundError):
    """No job has this id."""

    code = "job_not_found"


class VersionNotFoundError(NotFoundError):
    """The asset has no such version."""

    code = "version_not_found"


class FileNotFoundInVersionError(NotFoundError):
    """The version has no file or attachment of that name."""

    code = "file_not_found"


class PresetNotFoundError(NotFoundError):
    """There is no preset of that name."""

    code = "preset_not_found"


class ObjectMissingError(NotFoundError):
    """The record exists, its object in the store does not."""

    code = "object_missing"


# ── conflict ─────────────────────────────────────────────────────────────────────────────────────


class ConflictError(MusProjError):
    """The present state forbids it."""

    code = "conflict"


class IllegalTransitionError(ConflictError):
    """The record cannot go from its state to the asked one."""


class AssetNotReadyError(ConflictError):
    """The asset is still pending or was deleted."""

    code = "asset_not_ready"
    retryable = True


class UploadMissingError(ConflictError):
    """Nothing has arrived under the upload's key yet."""

    code = "upload_missing"
    retryable = True


class UploadMismatchError(ConflictError):
    """The uploaded object differs from what was declared; request a new upload."""

    code = "upload_mismatch"


class ObjectExistsError(ConflictError):
    """The key is taken; the old object is untouched."""

    code = "object_exists"


class ObjectChangedError(ConflictError):
    """The object is no longer the one that was recorded."""

    code = "object_changed"


class JobAlreadyFinishedError(ConflictError):
    """The job has already ended."""

    code = "job_already_finished"


class JobNotRetryableError(ConflictError):
    """Only a failed or cancelled job can be retried."""

    code = "job_not_retryable"


class IdempotencyMismatchError(ConflictError):
    """The Idempotency-Key was used for another request."""

    code = "idempotency_mismatch"


class PreconditionFailedError(ConflictError):
    """The record changed since it was read."""

    code = "precondition_failed"


# ── invalid ──────────────────────────────────────────────────────────────────────────────────────


class InvalidError(MusProjError):
    """The request is wrong."""

    code = "validation_failed"

    def __init__(
        self,
        message: str | None = None,
        *,
        violations: tuple[Violation, ...] = (),
        hint: str | None = None,
        **facts: object,
    ) -> None:
        """Keep every violation, not only the first."""
        self.violations = violations
        if message is None and violations:
            message = "; ".join(f"{v.pointer}: {v.detail}" for v in violations)
        super().__init__(message, hint=hint, **facts)


class InvalidParamsError(InvalidError):
    """A parameter of the processor is out of range or unknown."""

    code = "invalid_params"


class UnknownJobTypeError(InvalidError):
    """No processor of this installation has that name."""

    code = "unknown_job_type"


class PayloadTooLargeError(InvalidError):
    """The body or the declared upload is over the limit."""

    code = "payload_too_large"


class InvalidCursorError(InvalidError):
    """The cursor did not come from this list."""


# ── processing ───────────────────────────────────────────────────────────────────────────────────


class ProcessingError(MusProjError):
    """The audio or its processing failed."""

    code = "processing_failed"


class NotAudioError(ProcessingError):
    """The file is no audio."""

    code = "not_audio"


class UnsupportedFormatError(ProcessingError):
    """The container or codec is known but cannot be read or written here."""

    code = "unsupported_format"


class AudioCorruptError(ProcessingError):
    """The decoder gave up: the file is damaged."""

    code = "audio_corrupt"


class AudioEmptyError(ProcessingError):
    """The file holds no audio frame."""

    code = "audio_empty"


class AudioTruncatedError(ProcessingError):
    """The file ends before its header says."""

    code = "audio_truncated"


class AudioSilentError(ProcessingError):
    """Everything is below -70 LUFS, so it has no loudness to bring to a target."""

    code = "audio_silent"


class LoopNotFoundError(ProcessingError):
    """No stretch of the wanted length can be repeated."""

    code = "loop_not_found"


class ModelInvalidError(ProcessingError):
    """The model file is missing, is not the one that was meant, or does not take and give audio as needed."""

    code = "model_invalid"


class NonFiniteError(ProcessingError):
    """The samples contain NaN or infinity."""

    code = "non_finite"


class LimitExceededError(ProcessingError):
    """The file is over a limit; `facts` carry `limit`, `value` and `max`."""

    code = "limit_exceeded"


class EncodeUnsupportedError(ProcessingError):
    """The codec cannot take this rate or channel count."""

    code = "encode_unsupported"


class OutputInvalidError(ProcessingError):
    """The processor's output is missing, empty, not finite or not decodable."""

    code = "output_invalid"


class CodecCrashedError(ProcessingError):
    """The codec's process died on this file."""

    code = "codec_crashed"


class ChecksumMismatchError(ProcessingError):
    """The bytes differ from the recorded sha256."""

    code = "checksum_mismatch"
    retryable = True


class OutputConflictError(ProcessingError):
    """Another object lies under the reserved key; the next attempt takes the next number."""

    code = "output_conflict"
    retryable = True


class ProcessorTimeoutError(ProcessingError):
    """The processor ran over its time limit."""

    code = "processor_timeout"
    retryable = True


class OutOfMemoryError(ProcessingError):
    """The processor needed more memory than it declared."""

    code = "out_of_memory"
    retryable = True


class WorkerCrashedError(ProcessingError):
    """The job's process died."""

    code = "worker_crashed"
    retryable = True


class WorkerLostError(ProcessingError):
    """The worker vanished; its lease ran out."""

    code = "worker_lost"
    retryable = True


class DeadlineExceededError(ProcessingError):
    """The job still waited when it expired."""

    code = "deadline_exceeded"


class CorruptRecordError(ProcessingError):
    """The stored record cannot be read."""

    code = "corrupt_record"


class JobCancelledError(ProcessingError):
    """Somebody cancelled the job."""

    code = "cancelled"


# ── outside services ─────────────────────────────────────────────────────────────────────────────


class RemoteError(ProcessingError):
    """An outside service did not do its part; what it cost so far is on the job."""

    code = "remote_failed"


class RemoteUnavailableError(RemoteError):
    """The service could not be reached, again and again."""

    code = "remote_unavailable"
    retryable = True


class RemoteRejectedError(RemoteError):
    """The service refuses this input or these parameters."""

    code = "remote_rejected"


class RemoteAuthError(RemoteError):
    """The service refuses our key, until somebody mends it; what waits for it waits."""

    code = "remote_auth"
    retryable = True


class RemoteQuotaError(RemoteError):
    """The account has nothing left to pay with; what waits for it waits."""

    code = "remote_quota"
    retryable = True


class RemoteLostError(RemoteError):
    """It may have been paid for and cannot be found: nobody pays again unasked."""

    code = "remote_lost"


class RemoteDeadlineError(RemoteError):
    """The service did not finish in time."""

    code = "remote_deadline"


class RemoteResultExpiredError(RemoteError):
    """The result is no longer at the service."""

    code = "remote_result_expired"


class RemoteResultInvalidError(RemoteError):
    """What the service sent is not what it said, again and again."""

    code = "remote_result_invalid"


class RemoteHostRefusedError(RemoteError):
    """An address of a service is not one that may be called."""

    code = "remote_host_refused"


class RemoteRequestChangedError(RemoteError):
    """An operation under way was asked for something else."""

    code = "remote_request_changed"


class RemoteCancelledError(RemoteError):
    """The service stopped the work."""

    code = "remote_cancelled"


class NeedsJobError(RemoteError):
    """Paid work takes a job, whose record tells what was bought already."""

    code = "needs_job"

    @classmethod
    def of(cls, name: str, options: str = "") -> "NeedsJobError":
        """Return the error of a processor that was to run without one; `options` are those of the command line."""
        text = f"{name} is paid work of an outside service, and takes a job, whose record tells what was bought."
        return cls(text, hint=f"Submit it: musproj submit {name} ASSET {options}--wait")


class BudgetExceededError(RemoteError):
    """It would cost more than was allowed; nothing was bought."""

    code = "budget_exceeded"


# ── unavailable ──────────────────────────────────────────────────────────────────────────────────


class UnavailableError(MusProjError):
    """A backend cannot serve now; try again."""

    code = "backend_unavailable"
    retryable = True


class BackendUnavailableError(UnavailableError):
    """A store cannot be reached or is locked."""


class StorageFullError(UnavailableError):
    """The disk is full; nothing of the write was kept."""

    code = "storage_full"


class StorageDeniedError(UnavailableError):
    """The bucket refuses our key, until somebody mends it; what waits for it waits."""

    code = "storage_denied"


class ClockSkewError(UnavailableError):
    """This host's clock is too far from the bucket's; signatures carry the time."""

    code = "clock_skew"


# ── configuration ────────────────────────────────────────────────────────────────────────────────


class ConfigurationError(MusProjError):
    """The installation or its settings are wrong."""

    code = "configuration"


class MissingExtraError(ConfigurationError):
    """An optional library is needed."""

    code = "missing_extra"

    def __init__(self, library: str, extra: str) -> None:
        """Name the pip line that mends it."""
        super().__init__(
            f"{library!r} is needed here. Install it with: pip install 'musproj[{extra}]'",
            library=library,
            extra=extra,
        )


class UnknownPluginError(ConfigurationError):
    """Nothing of that name is installed."""

    code = "unknown_plugin"


class SchemaTooNewError(ConfigurationError):
    """The data was written by a newer musproj; upgrade this program."""

    code = "schema_too_new"
