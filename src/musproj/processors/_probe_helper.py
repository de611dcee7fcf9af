"""The process behind `HelperProbe`: one JSON line in, one out, until the pipe closes.

    python -m musproj.processors._probe_helper

It imports the codecs first and then shuts itself in: no core dumps, no file to write, bounded memory, and
processor seconds that every request gets anew.
"""

import contextlib
import importlib
import json
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from musproj.errors import BackendUnavailableError, MusProjError
from musproj.processors.limits import Limits
from musproj.processors.probe import encode_error, probe_file

_CODECS = ("numpy", "soundfile", "av")
_MEMORY_BYTES = 1 << 30
"""Address space beyond that of the loaded libraries; libsndfile and FFmpeg need a few MiB to open a file."""
_OPEN_FILES = 64
_CPU_SECONDS = 20


def main() -> None:
    """Answer requests until the input ends."""
    for name in _CODECS:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    _shut_in()
    for line in sys.stdin.buffer:
        _limit(resource.RLIMIT_CPU, int(time.process_time()) + _CPU_SECONDS, keep_hard=True)
        reply = answer(json.loads(line))
        sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
        sys.stdout.buffer.flush()


def answer(request: Mapping[str, Any]) -> dict[str, object]:
    """Probe one file and return the reply."""
    try:
        return {"info": attrs.asdict(probe_file(Path(request["path"]), Limits(**request["limits"])))}
    except MusProjError as exc:
        return encode_error(exc)
    except OSError as exc:
        return encode_error(BackendUnavailableError(f"The file cannot be read: {exc.strerror}"))


def _shut_in() -> None:
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    with contextlib.suppress(OSError):  # /proc is Linux's; elsewhere RLIMIT_AS does little anyway
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + _MEMORY_BYTES)


def _limit(what: int, value: int, *, keep_hard: bool = False) -> None:
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(what, (value, hard if keep_hard else value))


if __name__ == "__main__":
    main()
