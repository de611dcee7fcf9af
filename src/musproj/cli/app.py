"""Run one command line: the one place where errors become messages and exit codes."""

import contextlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Sequence
from types import FrameType

from typer.exceptions import TyperException
from typer.main import get_command

from musproj.cli.output import ClosedOutputError, print_error
from musproj.cli.tree import build

INTERRUPTED = 130
"""128 + SIGINT."""
TERMINATED = 143
"""128 + SIGTERM."""
WRONG_USAGE = 2
CLOSED_PIPE = 141
"""128 + SIGPIPE: what a shell shows for a program that this signal ended."""
COMPLETION = "_MUSPROJ_COMPLETE"
"""Set by the shell scripts that Typer writes."""

_STANDARD_STREAMS = (0, 1, 2)


class _TerminatedError(BaseException):
    """SIGTERM came; as an exception, so that half-written files are taken away on the way out."""


def run(words: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    _open_closed_streams()
    try:
        with _terminable():
            code = _dispatch(words or ["--help"])
            sys.stdout.flush()
    except (ClosedOutputError, BrokenPipeError):
        # Python flushes stdout once more at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except _TerminatedError:
        return TERMINATED
    return code


def _dispatch(words: Sequence[str]) -> int:
    as_json = "--json" in words or "--ndjson" in words
    try:
        if COMPLETION in os.environ:  # noqa: TID251 - the shell's question, not a setting
            return _complete()
        # Without its standalone mode Typer hands errors on, and returns what the command returned.
        answer = build(words[0])(list(words), prog_name="musproj", standalone_mode=False)
    except (ClosedOutputError, BrokenPipeError):
        raise
    except TyperException as exc:
        return _wrong_usage(exc, as_json=as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as exc:  # noqa: BLE001 - the one place that tells a known error from a bug
        return _failed(exc, as_json=as_json, in_full=_verbosity(words) > 1)
    return answer if isinstance(answer, int) else 0


def _complete() -> int:
    """Tell the shell what may follow."""
    program = get_command(build())
    # Typer imports pydantic to look at the program's own options.
    program.params, program.add_help_option = [], False
    program(prog_name="musproj")
    return 0


def _wrong_usage(error: TyperException, *, as_json: bool) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "musproj"
    print_error("validation_failed", error.format_message(), hint=f"{path} --help", facts={}, as_json=as_json)
    return WRONG_USAGE


def _failed(error: Exception, *, as_json: bool, in_full: bool) -> int:
    from musproj.cli.exit_codes import exit_code
    from musproj.cli.failures import describe
    from musproj.errors import MusProjError

    if isinstance(error, MusProjError):
        describe(error, as_json=as_json)
        return exit_code(error)
    if in_full:
        traceback.print_exception(error)
    hint = None if in_full else "Run it again with -vv for the traceback."
    print_error("internal", f"{type(error).__name__}: {error}", hint=hint, facts={"retryable": False}, as_json=as_json)
    return 1


def _verbosity(words: Sequence[str]) -> int:
    return sum(len(word) - 1 if word.startswith("-v") else 1 for word in words if word in ("-v", "-vv", "--verbose"))


@contextlib.contextmanager
def _terminable() -> Generator[None]:
    """Let SIGTERM end the block in order; who handles it already, or is not in the main thread, is left alone."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _TerminatedError


def _open_closed_streams() -> None:
    """Put /dev/null in the place of closed standard streams, or the next file opened would get their numbers."""
    for number in _STANDARD_STREAMS:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - lives as long as we
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
