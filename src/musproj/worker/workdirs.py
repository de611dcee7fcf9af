"""One private folder per run: `<tmp>/musproj/<jobId>-<token>`."""

import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

import attrs

from musproj.domain.ids import JobId, is_id
from musproj.domain.job import Job, JobStatus

log = logging.getLogger(__name__)

OLD_SECONDS = 86_400.0
"""A folder of an unknown job may be another installation's; older than a day it is nobody's."""

TEMPORARY = "tmp"
"""The part of a run's folder where it, and what it starts, may put temporary files."""

_PRIVATE = 0o700


@attrs.frozen
class Workdirs:
    """The folders of this host's runs."""

    root: Path = attrs.field(factory=lambda: _private_root(Path(tempfile.gettempdir())))

    def path(self, job_id: JobId, token: str) -> Path:
        """Return where a run works."""
        return self.root / f"{job_id}-{token}"

    def make(self, job_id: JobId, token: str) -> Path:
        """Create the empty folder of a run.

        Raises:
            OSError: the disk is full or read-only.
        """
        path = self.path(job_id, token)
        self.root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)  # something may tidy up temporary folders
        path.mkdir(mode=_PRIVATE)
        (path / TEMPORARY).mkdir()
        return path

    def remove(self, job_id: JobId, token: str) -> None:
        """Remove the folder of a run; of none, nothing happens."""
        _remove(self.path(job_id, token))

    def sweep(self, find: Callable[[JobId], Job | None], *, but: Collection[tuple[JobId, str]] = ()) -> int:
        """Remove what dead workers left; return how many folders that were.

        `find` tells what is known of a job; the runs of `but`, by job and token, are left alone. A folder goes when its run no longer holds its job, or when its job is
        unknown and the folder was left a day or a boot ago.
        """
        removed = 0
        for path in self._runs():
            job_id, _, token = path.name.rpartition("-")
            if not is_id(job_id) or (JobId(job_id), token) in but:
                continue
            job = find(JobId(job_id))
            is_over = _is_old(path) if job is None else job.status is not JobStatus.RUNNING or job.token != token
            if is_over:
                _remove(path)
                removed += 1
        return removed

    def _runs(self) -> Iterator[Path]:
        with suppress(OSError):
            yield from sorted(self.root.iterdir())


def _private_root(temporary: Path) -> Path:
    """Return a folder that is ours alone: in a shared one, anybody could have made `musproj` first."""
    for name in ("musproj", f"musproj-{os.geteuid()}"):
        root = temporary / name
        with suppress(FileExistsError):
            root.mkdir(mode=_PRIVATE, parents=True)
        facts = root.lstat()
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o022:
            return root
    return Path(tempfile.mkdtemp(prefix="musproj-"))


def _is_old(path: Path) -> bool:
    with suppress(OSError):
        changed = path.lstat().st_mtime
        return changed < time.time() - OLD_SECONDS or changed < _boot_time()
    return False


def _boot_time() -> float:
    with suppress(OSError, ValueError):  # no /proc: then a day must do
        return time.time() - float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return 0.0


def _remove(path: Path) -> None:
    # Whatever cannot be removed now is swept later.
    shutil.rmtree(path, ignore_errors=True)
