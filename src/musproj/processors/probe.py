"""What an untrusted audio file is: by a helper process whose death harms nobody, or in this process.

A codec may crash, hang or take all memory on a hostile file. `HelperProbe` therefore asks a helper that was
started once and is limited by the kernel, so that a probe costs about a millisecond and a bad file costs a
helper. `probe_file` does the same work here, for a job's own process, which is such a helper already.
"""

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import attrs

from musproj import errors
from musproj.errors import AudioCorruptError, AudioEmptyError, BackendUnavailableError, MissingExtraError
from musproj.ports.processor import AudioInfo, AudioProbe
from musproj.processors._formats.source import check_limits, container_of_file, parse_header
from musproj.processors.limits import DEFAULT_LIMITS, Limits

HELPER_MODULE = "musproj.processors._probe_helper"

_PACKAGE_ROOT = Path(__file__).parents[2]

_PROOF_FRAMES = 1_024
"""A codec must give this many frames, or all there are, before a file counts as audio."""
_MAX_REPLY_BYTES = 65_536


def open_probe(*, max_duration_s: float = DEFAULT_LIMITS.max_duration_seconds) -> "HelperProbe":
    """Return the probe of an installation that takes files of up to `max_duration_s` seconds."""
    return HelperProbe(Limits(max_duration_seconds=max_duration_s))


def probe_file(path: Path, limits: Limits = DEFAULT_LIMITS) -> AudioInfo:
    """Return the facts of `path`, read in this process; the first frames of a compressed file are decoded.

    Raises:
        NotAudioError: unknown magic, empty file, text.
        UnsupportedFormatError: a container or codec outside the allow-list.
        AudioCorruptError: the header cannot be decoded.
        AudioEmptyError: it holds no frame.
        LimitExceededError: channels, rate or duration over the limits.
        NonFiniteError: the header claims a value that is no number.
    """
    container = container_of_file(path)
    size = path.stat().st_size
    header = parse_header(path, container)
    if header is None or header.region is None:
        return _probe_codec(path, container, size, limits)
    check_limits(header, limits)
    if not header.frames:
        raise AudioEmptyError
    return header.info(size)


def _probe_codec(path: Path, container: str, size: int, limits: Limits) -> AudioInfo:
    try:
        import numpy as np

        from musproj.processors._formats.open import open_decoder
    except ModuleNotFoundError:
        return AudioInfo(container=container, size_bytes=size)
    try:
        decoder = open_decoder(path, limits)
    except (MissingExtraError, errors.UnsupportedFormatError) as exc:
        if "extra" in exc.facts:
            return AudioInfo(container=container, size_bytes=size)
        raise
    try:
        header = decoder.header
        if not decoder.read(np.empty((_PROOF_FRAMES, header.channels), np.float32)):
            raise AudioCorruptError("Nothing of the file could be decoded.") if header.frames else AudioEmptyError()
        return header.info(size)
    finally:
        decoder.close()


@attrs.define
class _Helper:
    """The helper of one process, and the lock under which it is asked."""

    lock: threading.Lock = attrs.field(factory=threading.Lock)
    process: subprocess.Popen[bytes] | None = None

    def ask(self, request: bytes, timeout: float) -> bytes | None:
        """Return the reply's line, or None where the helper died or hung; it is gone then."""
        process = self.process
        if process is None or process.poll() is not None:
            self.stop()
            process = self.process = _start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(request)
            reply = _read_line(process.stdout, time.monotonic() + timeout)
        except OSError:
            reply = None
        if reply is None:
            self.stop()
        return reply

    def stop(self) -> None:
        """Kill the helper and reap it."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


class HelperProbe(AudioProbe):
    """Probes in a helper process that is started at the first call and kept; usable from several threads.

    After a fork the child starts a helper of its own: helpers are kept by process id.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, timeout_seconds: float = 10.0) -> None:
        """Give up on a file, and on the helper, after `timeout_seconds`."""
        self._limits = limits
        self._timeout = timeout_seconds
        self._helpers: dict[int, _Helper] = {}

    def probe(self, path: Path) -> AudioInfo:
        """Return the facts of `path`, as `probe_file` does.

        A file that kills the helper twice, or keeps it busy, is told to be damaged.

        Raises:
            NotAudioError: unknown magic, empty file, text.
            UnsupportedFormatError: a container or codec outside the allow-list.
            AudioCorruptError: the header cannot be decoded.
            AudioEmptyError: it holds no frame.
            LimitExceededError: channels, rate or duration over the limits.
            NonFiniteError: the header claims a value that is no number.
            CodecCrashedError: the helper died on this file.
            BackendUnavailableError: the helper cannot be started, or the file cannot be read.
        """
        request = json.dumps({"path": str(path.absolute()), "limits": attrs.asdict(self._limits)}).encode() + b"\n"
        helper = self._helpers.setdefault(os.getpid(), _Helper())
        with helper.lock:
            was_running = helper.process is not None
            reply = helper.ask(request, self._timeout)
            if reply is None and was_running:
                # It may have been killed from outside meanwhile: one death of an old helper proves nothing.
                reply = helper.ask(request, self._timeout)
        if reply is None:
            raise errors.CodecCrashedError(f"The codec died or hung on {path.name}")
        return _decode_reply(json.loads(reply))

    def close(self) -> None:
        """End the helper of this process; a later call would start another."""
        helper = self._helpers.pop(os.getpid(), None)
        if helper is not None:
            with helper.lock:
                helper.stop()


def encode_error(error: errors.MusProjError) -> dict[str, object]:
    """Return an error as the helper sends it."""
    facts = {name: value for name, value in error.facts.items() if isinstance(value, str | int | float)}
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint, "facts": facts}


def _decode_reply(reply: Mapping[str, Any]) -> AudioInfo:
    if "info" in reply:
        return AudioInfo(**reply["info"])
    kind = getattr(errors, str(reply["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, errors.MusProjError)):
        raise BackendUnavailableError(f"The probe failed: {reply.get('message')}")
    raise kind(reply["message"], hint=reply.get("hint"), **reply["facts"])


def _start() -> subprocess.Popen[bytes]:
    """Start the helper with an environment that holds nothing but where to import from."""
    environment = {
        "PYTHONPATH": str(_PACKAGE_ROOT),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
    }
    try:
        return subprocess.Popen(  # noqa: S603 -- this interpreter and a module of ours
            [sys.executable, "-P", "-m", HELPER_MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    except OSError as exc:
        raise BackendUnavailableError(f"The probe's helper cannot be started: {exc}") from exc


def _read_line(pipe: IO[bytes], deadline: float) -> bytes | None:
    """Read up to a newline before the monotonic `deadline`."""
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(line) <= _MAX_REPLY_BYTES:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return None
            part = os.read(pipe.fileno(), _MAX_REPLY_BYTES)
            if not part:
                return None
            line += part
            if line.endswith(b"\n"):
                return line
    return None
