"""What a command's exit code means; errors themselves know none."""

from enum import IntEnum

from musproj import errors
from musproj.errors import MusProjError


class ExitCode(IntEnum):
    """The codes, the same for every command."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    AUTH = 4
    CONFLICT = 5
    PARTIAL = 6
    FAILED = 7
    CANCELLED = 8
    UNAVAILABLE = 9
    QUOTA = 10
    INTEGRITY = 11
    TIMEOUT = 124
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "ok; `serve` and `work` after a clean drain",
    ExitCode.FAILURE: "failure that is nothing of the below; a bug",
    ExitCode.USAGE: "wrong usage, parameter, setting, or a missing extra",
    ExitCode.NOT_FOUND: "no such asset, version, file or job",
    ExitCode.AUTH: "not allowed",
    ExitCode.CONFLICT: "the present state forbids it",
    ExitCode.PARTIAL: "some of several items failed",
    ExitCode.FAILED: "the job or the processing failed, or the file is no usable audio",
    ExitCode.CANCELLED: "the job was cancelled",
    ExitCode.UNAVAILABLE: "a store cannot be reached or is full; try again",
    ExitCode.QUOTA: "over a quota or rate limit",
    ExitCode.INTEGRITY: "`doctor` found a problem; a missing or damaged object",
    ExitCode.TIMEOUT: "`--timeout` is over; the job goes on",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C",
    ExitCode.CLOSED_PIPE: "the reader of the output went away",
    ExitCode.TERMINATED: "stopped by SIGTERM",
}

_BY_CLASS: dict[type[MusProjError], ExitCode] = {
    errors.ObjectMissingError: ExitCode.INTEGRITY,
    errors.NotFoundError: ExitCode.NOT_FOUND,
    errors.ConflictError: ExitCode.CONFLICT,
    errors.InvalidError: ExitCode.USAGE,
    errors.ChecksumMismatchError: ExitCode.INTEGRITY,
    errors.JobCancelledError: ExitCode.CANCELLED,
    errors.ProcessingError: ExitCode.FAILED,
    errors.UnavailableError: ExitCode.UNAVAILABLE,
    errors.ConfigurationError: ExitCode.USAGE,
    MusProjError: ExitCode.FAILURE,
}


def exit_code(error: MusProjError) -> ExitCode:
    """Return the exit code of an error: that of the nearest class above it."""
    return next(_BY_CLASS[kind] for kind in type(error).__mro__ if kind in _BY_CLASS)
