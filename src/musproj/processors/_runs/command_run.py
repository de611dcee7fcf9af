"""The run of a command: decode, start the program, wait for it, take what it wrote."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import attrs

from musproj.errors import ConfigurationError, OutputInvalidError, ProcessingError
from musproj.ports.processor import Context, InputFile, Outcome, ProcessorSpec
from musproj.processors import blocks
from musproj.processors._runs.command_template import Template
from musproj.processors._runs.pcm_bits import chosen_bits

_DECODED, _RAN = 0.2, 0.95
_POLL_SECONDS = 0.1
_LAST_BYTES = 4_096
_LAST_LINE = 300
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin"


@attrs.frozen
class Run:
    """One run of a program."""

    spec: ProcessorSpec
    template: Template
    inputs: Mapping[str, InputFile]
    params: Any
    ctx: Context

    def outcome(self) -> Outcome:
        """Do everything."""
        names, seconds = self._decode()
        kind: type[Any] = type(self.params)  # pyright: ignore[reportUnknownVariableType] -- made from the file
        values = {field.name: getattr(self.params, field.name) for field in attrs.fields(kind)}
        self._execute([self.template.program, *self.template.filled(names, values)], seconds)
        for name in names.values():
            (self.ctx.workdir / name).unlink(missing_ok=True)
        files = {port: self.ctx.workdir / name for port, name in self.template.outputs.items()}
        missing = [port for port, path in files.items() if not path.is_file()]
        if missing:
            raise OutputInvalidError(f"{self.spec.name} did not write: {', '.join(missing)}.")
        self.ctx.progress(1.0, "done")
        return Outcome(files=files)

    def _decode(self) -> tuple[dict[str, str], float]:
        """Write each input as a plain WAV, which is all that the program ever reads; return them and the seconds."""
        names: dict[str, str] = {}
        longest = 0.0
        for place, (port, file) in enumerate(self.inputs.items()):
            names[port] = f"in-{port}.wav"
            share = (_DECODED * place / len(self.inputs), _DECODED * (place + 1) / len(self.inputs))
            with blocks.reader(file, self.ctx, stage="decode", share=share) as source:
                bits = chosen_bits("source", source, "flac")
                path = self.ctx.workdir / names[port]
                with blocks.writer(path, like=source, subtype=f"PCM_{bits}") as sink:
                    for _, block in source:
                        sink.write(block)
                longest = max(longest, source.frames_read / source.sample_rate)
        return names, longest

    def _execute(self, command: list[str], seconds: float) -> None:
        """Run the program to its end.

        Raises:
            ConfigurationError: it is not there.
            ProcessingError: it failed.
            JobCancelledError: passed through; the program is gone then.
        """
        workdir = self.ctx.workdir
        # Where the worker was found able to run it; what the program itself starts is looked for in usual places.
        command = [shutil.which(command[0]) or command[0], *command[1:]]
        environment = {"PATH": _PATH, "HOME": str(workdir), "TMPDIR": str(workdir), "LC_ALL": "C.UTF-8"}
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own program, and no shell
                command,
                cwd=workdir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as exc:
            raise ConfigurationError(f"{command[0]!r} cannot be run: {exc.strerror}.", program=command[0]) from exc
        assert process.stdout is not None
        words = _LastWords(process.stdout)
        try:
            self._wait(process, seconds)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            said = words.end()
        if process.returncode:
            raise ProcessingError(f"{Path(command[0]).name} ended with {process.returncode}: {said}", retryable=False)

    def _wait(self, process: "subprocess.Popen[bytes]", seconds: float) -> None:
        """Look after it; how far it is nobody knows, so the progress goes by the time that it usually takes."""
        expected = max(1.0, seconds / self.spec.speed)
        begun = time.monotonic()
        while True:
            try:
                process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                done = min(1.0, (time.monotonic() - begun) / expected)
                self.ctx.progress(_DECODED + done * (_RAN - _DECODED), self.spec.name)
            else:
                return


class _LastWords:
    """Reads what a program says, and keeps the end of it: it may say any amount."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._kept: bytes = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def end(self) -> str:
        """Return its last line."""
        self._thread.join(timeout=1.0)  # a grandchild may hold the pipe open
        lines = [line.strip() for line in self._kept.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][-_LAST_LINE:] if lines else "it said nothing"

    def _read(self) -> None:
        with self._stream:
            while chunk := os.read(self._stream.fileno(), _LAST_BYTES):
                self._kept = (self._kept + chunk)[-_LAST_BYTES:]
