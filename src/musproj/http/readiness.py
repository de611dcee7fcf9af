"""Whether the installation behind the API works: what `/readyz` tells."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import attrs

from musproj.composition import MusProj
from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.keys import object_key
from musproj.errors import MusProjError, ObjectMissingError, StorageFullError
from musproj.ports.jobs import JobFilter

log = logging.getLogger(__name__)

CACHE_SECONDS = 2.0
MIN_FREE_BYTES = 256 * 1024**2
"""Below it the next upload or output may well not fit."""

_ABSENT = object_key("health/absent")


@attrs.frozen
class CheckResult:
    """What one look at a part found."""

    is_ok: bool
    detail: str | None = None


class Readiness:
    """Looks at each part at most every two seconds, however many ask; usable from several threads."""

    def __init__(self, mp: MusProj) -> None:
        self._mp = mp
        self._lock = threading.Lock()
        self._results: Mapping[str, CheckResult] = {}
        self._until = 0.0
        self.is_draining = False

    def look(self) -> Mapping[str, CheckResult]:
        """Return what the last look found, by part; may block on the stores."""
        if self.is_draining:
            return {"server": CheckResult(is_ok=False, detail="draining")}
        with self._lock:
            if time.monotonic() >= self._until:
                self._results = dict(self._checked())
                self._until = time.monotonic() + CACHE_SECONDS
            return self._results

    def _checked(self) -> Iterator[tuple[str, CheckResult]]:
        for part, check in self._checks():
            try:
                check()
            except MusProjError as exc:
                log.warning("Not ready: %s: %s", part, exc, extra={"action": "backend_down", "part": part})
                yield part, CheckResult(is_ok=False, detail=exc.message)
            else:
                yield part, CheckResult(is_ok=True)

    def _checks(self) -> Iterator[tuple[str, Callable[[], object]]]:
        mp = self._mp
        yield "metadata", self._look_at_metadata
        yield "queue", mp.queue.next_run_at
        yield "storage", self._look_at_storage
        if mp.opened_storage.local_files is not None:
            yield "disk", self._look_at_disk

    def _look_at_metadata(self) -> None:
        self._mp.metadata.jobs.list(DEFAULT_OWNER, JobFilter(), limit=1)
        self._mp.metadata.check_writable()

    def _look_at_storage(self) -> None:
        try:
            self._mp.opened_storage.storage.stat(_ABSENT)
        except ObjectMissingError:
            return

    def _look_at_disk(self) -> None:
        data = self._mp.settings.data
        if data.exists() and (free := shutil.disk_usage(data).free) < MIN_FREE_BYTES:
            raise StorageFullError(f"{free} bytes are free, at least {MIN_FREE_BYTES} should be.")
