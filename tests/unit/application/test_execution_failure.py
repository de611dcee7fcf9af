"""What an exception costs a job, and what its user reads."""

import errno
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from musproj import errors
from musproj.application.execution import classify
from musproj.domain.job import Attempt, FailureKind
from musproj.testing.records import new_asset, new_job

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("exc", "kind", "code"),
    [
        (errors.NotAudioError(), FailureKind.PERMANENT, "not_audio"),
        (errors.UnsupportedFormatError(), FailureKind.PERMANENT, "unsupported_format"),
        (errors.LimitExceededError(), FailureKind.PERMANENT, "limit_exceeded"),
        (errors.InvalidParamsError(), FailureKind.PERMANENT, "invalid_params"),
        (errors.ObjectMissingError(), FailureKind.PERMANENT, "object_missing"),
        (errors.ObjectChangedError(), FailureKind.PERMANENT, "object_changed"),
        (errors.OutputInvalidError(), FailureKind.PERMANENT, "output_invalid"),
        (errors.CodecCrashedError(), FailureKind.PERMANENT, "codec_crashed"),
        (errors.MissingExtraError("av", "codecs"), FailureKind.PERMANENT, "missing_extra"),
        (errors.AssetNotReadyError(), FailureKind.PERMANENT, "asset_not_ready"),
        (errors.ChecksumMismatchError(), FailureKind.TRANSIENT, "checksum_mismatch"),
        (errors.OutputConflictError(), FailureKind.TRANSIENT, "output_conflict"),
        (errors.ProcessorTimeoutError(), FailureKind.TIMEOUT, "processor_timeout"),
        (errors.OutOfMemoryError(), FailureKind.CRASH, "out_of_memory"),
        (errors.WorkerCrashedError(), FailureKind.CRASH, "worker_crashed"),
        (errors.BackendUnavailableError(), FailureKind.BACKEND, "backend_unavailable"),
        (errors.StorageFullError(), FailureKind.BACKEND, "storage_full"),
        (errors.JobCancelledError(), FailureKind.INTERRUPTED, "cancelled"),
        (errors.MusProjError("bug"), FailureKind.INTERNAL, "internal"),
        (MemoryError(), FailureKind.CRASH, "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left"), FailureKind.BACKEND, "storage_full"),
        (OSError(errno.EFBIG, "File too large"), FailureKind.PERMANENT, "limit_exceeded"),
        (OSError(errno.EIO, "I/O error"), FailureKind.INTERNAL, "internal"),
        (ConnectionResetError("reset"), FailureKind.TRANSIENT, "internal"),
        (TimeoutError("slow"), FailureKind.TRANSIENT, "internal"),
        (RuntimeError("bug"), FailureKind.INTERNAL, "internal"),
        (SystemExit(0), FailureKind.CRASH, "worker_crashed"),
        (KeyboardInterrupt(), FailureKind.CRASH, "worker_crashed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_each_error_has_its_kind_and_its_code(exc, kind, code):
    failure = classify(exc)
    assert (failure.kind, failure.code) == (kind, code)


def test_every_processing_error_goes_by_its_retryable_unless_it_has_a_kind_of_its_own():
    for cls in errors.ProcessingError.__subclasses__():
        if classify(cls()).kind is FailureKind.TRANSIENT:
            assert cls.retryable


def test_a_checksum_that_differs_twice_differs_in_the_store():
    attempt = Attempt(attempt=1, kind=FailureKind.TRANSIENT, code="checksum_mismatch", message="", at=NOON)
    job = attrs.evolve(new_job(new_asset(NOON), NOON), history=(attempt,))

    assert classify(errors.ChecksumMismatchError(), job).kind is FailureKind.PERMANENT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://b.example/a?X-Amz-Signature=ab&x=1 failed", "ValueError: GET https://b.example/a?… failed"),
        ("redis://user:hunter2@host:6379 is away", "ValueError: redis://…@host:6379 is away"),
        ("two\n  lines", "ValueError: two lines"),
    ],
)
def test_the_text_is_one_line_without_credentials(text, shown):
    assert classify(ValueError(text)).message == shown


def test_a_long_text_is_cut():
    message = classify(ValueError("x" * 10_000)).message
    assert len(message) == 500
    assert message.endswith("…")


def test_a_wish_to_come_back_later_is_kept():
    assert classify(errors.BackendUnavailableError(retry_after=12)).retry_after == timedelta(seconds=12)
    assert classify(errors.BackendUnavailableError()).retry_after is None


def test_a_text_that_has_no_bytes_is_replaced():
    failure = classify(RuntimeError("bad \ud800\x1b[31m"))
    assert failure.message == "RuntimeError: bad \ufffd\ufffd[31m"
