"""Sources and tasks at the fake LALAL, and how a task lives."""

import secrets
import uuid
from typing import Any, Final

import attrs

from musproj.testing.fakes.audio import Media, Tone
from musproj.testing.fakes.exchange import Json
from musproj.testing.fakes.splits import Order
from musproj.testing.fakes.world import Script, World

DAY_S: Final = 86_400
"""How long sources, tasks and results are known."""
LINKS_S: Final = 3_600
"""How long a result is there after its source was deleted."""
LEAST_RUN_SECONDS: Final = 5.0
UNKNOWN_TASK: Final = "Failed to extract information about task"
ENDED: Final = ("success", "error", "cancelled")
_NO_VOICE: Final = "Unable to detect voice/vocals in the uploaded files"


@attrs.define(kw_only=True)
class Source:
    """An uploaded file."""

    name: str
    size: int
    media: Media
    created: float
    id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    deleted: float | None = None

    def is_usable(self, now: float) -> bool:
        """Whether it can be split."""
        return self.deleted is None and now < self.created + DAY_S

    def json(self) -> Json:
        """Return what an upload tells."""
        return {
            "id": self.id,
            "name": self.name,
            "size": self.size,
            "duration": round(self.media.duration),
            "expires": int(self.created) + DAY_S,
        }


@attrs.define(kw_only=True)
class Task:
    """One split; the lock of its world guards it."""

    world: World
    order: Order
    source: Source
    created: float
    script: Script
    id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    secret: str = attrs.field(factory=lambda: secrets.token_hex(8))
    """The part of a result's address that cannot be guessed."""
    status: int | str = 0
    """A percentage while it runs, else a word."""

    @property
    def is_running(self) -> bool:
        """Whether its status will change by itself."""
        return self.status not in ENDED

    @property
    def is_known(self) -> bool:
        """Whether `check/` still answers for it."""
        return self.world.clock() < self.created + DAY_S

    def poll(self) -> None:
        """Let a client look."""
        if self.world.options.mode == "ticks" and self.is_running:
            self.move(self.script.next())

    def settle(self) -> None:
        """Let time pass, in clock mode."""
        run_seconds = max(LEAST_RUN_SECONDS, self.source.media.duration / 2)
        elapsed = self.world.clock() - self.created - self.world.options.queue_seconds
        if self.is_running and elapsed >= 0:
            progress = max(1, min(99, int(100 * elapsed / run_seconds)))
            self.move(progress if elapsed < run_seconds else self.script.last)

    def move(self, status: int | str) -> None:
        """Set the status."""
        self.status = status
        self.world.set_running(self.id, running=self.is_running)

    def accepts_key(self) -> bool:
        """Whether its idempotency key may be sent again."""
        match self.world.options.key_window:
            case "prestart":
                return self.status == 0
            case "timed":
                return self.world.clock() < self.created + self.world.options.queue_seconds
            case "none":
                return False

    def result_of(self, label: str) -> Tone | None:
        """Return a finished track that can be fetched."""
        is_gone = self.source.deleted is not None and self.world.clock() >= self.source.deleted + LINKS_S
        if self.status != "success" or is_gone or not self.is_known or label not in dict(self._labels()):
            return None
        return self._tone(label)

    def json(self) -> Json | None:
        """Return what `check/` tells; None where a script says that it is missing."""
        if self.status == "missing":
            return None
        if self.status == "server_error":
            return {"status": "server_error", "error": UNKNOWN_TASK}
        told: Json = {"source_id": self.source.id, "presets": self._presets()}
        if isinstance(self.status, int):
            return {"status": "progress", **told, "progress": self.status}
        if self.status == "success":
            tracks = [self._track(kind, label) for label, kind in self._labels()]
            told["result"] = {"duration": round(self.source.media.duration), "tracks": tracks}
        if self.status == "error":
            told["error"] = {"detail": _NO_VOICE, "code": "inference_error", "id": None, **self.script.error}
        return {"status": self.status, **told}

    def _labels(self) -> list[tuple[str, str]]:
        return [(label, kind) for kind, label in self.order.tracks() if label not in self.script.without]

    def _tone(self, label: str) -> Tone:
        media = self.source.media.shortened() if self.world.options.short_results else self.source.media
        return Tone(media=media, label=label)

    def _track(self, kind: str, label: str) -> Json:
        size = None if self.world.options.null_size else self._tone(label).size
        url = f"{self.world.results}/cdn/{self.id}/{self.secret}/{label}"
        return {"type": kind, "label": label, "url": url, "size": size}

    def _presets(self) -> Json:
        # The echo in the vendor's example is not the request.
        return {**self.order.presets, "task_type": "split", "label": "enhanced", "enhanced_processing_enabled": False}


def usual(ticks: int) -> tuple[Any, ...]:
    """Return what checks answer: 30, 60, success for three of them."""
    return (*(min(99, 30 * n) for n in range(1, ticks)), "success")
