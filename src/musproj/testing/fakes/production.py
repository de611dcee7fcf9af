"""A production at the fake Auphonic, and how it lives."""

import secrets
import string
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from musproj.testing.fakes.audio import Media, Tone
from musproj.testing.fakes.exchange import Json
from musproj.testing.fakes.world import Bill, Script, World

SERVICE: Final = "auphonic"
WAITING, ERROR, DONE, PROCESSING, ENCODING = 1, 2, 3, 4, 5
INCOMPLETE, NOT_STARTED, OUTDATED, INCOMING, STOPPING = 9, 10, 11, 12, 13
STATUSES: Final = {
    0: "File Upload", 1: "Waiting", 2: "Error", 3: "Done", 4: "Audio Processing", 5: "Audio Encoding",
    6: "Outgoing File Transfer", 7: "Audio Mono Mixdown", 8: "Split Audio On Chapter Marks", 9: "Incomplete",
    10: "Production Not Started Yet", 11: "Production Outdated", 12: "Incoming File Transfer",
    13: "Stopping the Production", 14: "Speech Recognition",
}  # fmt: skip
AT_REST: Final = frozenset({ERROR, DONE, INCOMPLETE, NOT_STARTED, OUTDATED})
STARTABLE: Final = frozenset({NOT_STARTED, DONE, ERROR, OUTDATED})
WIDTHS: Final = {"wav": 2, "wav-24bit": 3}
"""Formats that the fake makes, and the bytes of a sample."""
LEAST_SECONDS: Final = 180
"""Billed for a production at least."""
LEAST_RUN_SECONDS: Final = 5.0


@attrs.frozen(kw_only=True)
class Input:
    """What is to be processed."""

    name: str
    sha256: str
    media: Media
    is_url: bool = False


@attrs.frozen(kw_only=True)
class Result:
    """A file that a production made."""

    name: str
    tone: Tone
    md5: str


@attrs.define(kw_only=True)
class Production:
    """One production; the lock of its world guards it."""

    world: World
    created: float
    fields: Json
    """Metadata, algorithms, basename, webhook and preset, as the client set them."""
    outputs: list[Json]
    uuid: str = attrs.field(
        factory=lambda: "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(22))
    )
    input: Input | None = None
    status: int = INCOMPLETE
    changed: float = attrs.field(default=attrs.Factory(lambda self: self.created, takes_self=True))
    started: float = 0.0
    script: Script | None = None
    """The one that a test set."""
    run: Script | None = None
    """The one that runs."""
    paid: set[str] = attrs.field(factory=set[str])
    """Digests of the inputs that were billed."""
    results: list[Result] = attrs.field(factory=list[Result])

    @property
    def is_running(self) -> bool:
        """Whether its status will change by itself."""
        return self.status not in AT_REST

    @property
    def is_startable(self) -> bool:
        """Whether `start` is allowed."""
        return self.input is not None and self.status in STARTABLE

    @property
    def basename(self) -> str:
        """The stem of its files."""
        stem = self.input.name.rpartition("/")[2].rpartition(".")[0] if self.input else ""
        return str(self.fields.get("output_basename") or stem or "audio")

    @property
    def price(self) -> float:
        """Hours that the next start costs."""
        if self.input is None or self.input.sha256 in self.paid:
            return 0.0
        return max(self.input.media.duration, LEAST_SECONDS) / 3_600

    def take(self, source: Input) -> None:
        """Replace the input."""
        self.input = source
        self.move(NOT_STARTED)

    def start(self) -> None:
        """Run, and charge for an input that was not charged for."""
        assert self.input is not None
        if self.price:
            tag = self.fields.get("output_basename")
            self.world.bill(Bill(service=SERVICE, id=self.uuid, units=self.price, tag=tag and str(tag)))
            self.paid.add(self.input.sha256)
        self.started = self.world.clock()
        self.run = self.script or Script(statuses=_usual(self.world.options.poll_ticks, is_url=self.input.is_url))
        self.move(WAITING)

    def poll(self) -> bool:
        """Let a client look; return whether that ended the run."""
        if self.status == STOPPING:
            self.move(NOT_STARTED)
        elif self.world.options.mode == "ticks" and self.run is not None and self.is_running:
            return self.move(int(self.run.next()))
        return False

    def settle(self) -> bool:
        """Let time pass, in clock mode; return whether that ended the run."""
        if self.run is None or self.input is None or not self.is_running or self.status == STOPPING:
            return False
        run_seconds = max(LEAST_RUN_SECONDS, self.input.media.duration / 2)
        elapsed = self.world.clock() - self.started - self.world.options.queue_seconds
        if elapsed < 0:
            return False
        return self.move(PROCESSING if elapsed < run_seconds else int(self.run.last))

    def move(self, status: int) -> bool:
        """Set the status; return whether that ended a run."""
        if status == self.status:
            return False
        self.status, self.changed = status, self.world.clock()
        self.world.set_running(self.uuid, running=self.is_running)
        if status == DONE:
            self.results = self._made()
        return status in (ERROR, DONE)

    def status_json(self) -> Json:
        """Return what `status.json` tells."""
        return {"status": self.status, "status_string": STATUSES.get(self.status, "Future State")}

    def json(self) -> Json:
        """Return all that Auphonic tells of it."""
        media = self.input.media if self.input else None
        return {
            "uuid": self.uuid,
            **self.status_json(),
            **self._error(),
            "warning_status": None,
            "warning_message": "",
            "creation_time": _iso(self.created),
            "change_time": _iso(self.changed),
            "metadata": {"title": "", **dict(self.fields.get("metadata") or {})},
            "algorithms": dict(self.fields.get("algorithms") or {}),
            "output_basename": str(self.fields.get("output_basename") or ""),
            "webhook": self.fields.get("webhook"),
            "preset": self.fields.get("preset"),
            "output_files": self._output_files(),
            "input_file": self.input.name if self.input else "",
            "length": media.duration if media else 0,
            "channels": media.channels if media else 0,
            "samplerate": media.rate if media else 0,
            "start_allowed": self.is_startable,
            "change_allowed": not self.is_running,
            "is_multitrack": False,
            "used_credits": self._used_credits(),
            "statistics": _STATISTICS if self.status == DONE else {},
        }

    def _error(self) -> Json:
        if self.status != ERROR:
            return {"error_status": None, "error_message": ""}
        usual: Json = {"error_status": 1, "error_message": "cannot decode"}
        return {**usual, **self.script.error} if self.script else usual

    def _used_credits(self) -> Json | None:
        if self.status != DONE:
            return None
        units = sum(bill.units for bill in self.world.bills if bill.id == self.uuid)
        return {"recurring": 0.0, "onetime": units, "combined": units}

    def _made(self) -> list[Result]:
        assert self.input is not None
        media = self.input.media.shortened() if self.world.options.short_results else self.input.media
        made: list[Result] = []
        for output in self.outputs:
            tone = Tone(media=media, label=SERVICE, width=WIDTHS[output["format"]])
            name = f"{self.basename}{output.get('suffix') or ''}.wav"
            made.append(Result(name=name, tone=tone, md5=tone.md5()))
        return made

    def _output_files(self) -> list[Json]:
        results: list[Result | None] = [*self.results] if self.status == DONE else []
        results += [None] * (len(self.outputs) - len(results))
        return [{**output, "ending": "wav", **self._file(r)} for output, r in zip(self.outputs, results, strict=True)]

    def _file(self, result: Result | None) -> Json:
        if result is None:
            return {"filename": "", "size": 0, "checksum": "", "download_url": None}
        # As the vendor does, not percent-encoded; at the API, not at the results' host.
        url = f"{self.world.api}/api/download/audio-result/{self.uuid}/{result.name}"
        return {"filename": result.name, "size": result.tone.size, "checksum": result.md5, "download_url": url}


_STATISTICS: Final[dict[str, Any]] = {
    "levels": {
        "input": {"loudness": [-20.0, "LUFS"], "snr": [40.0, "dB"]},
        "output": {"loudness": [-16.0, "LUFS"], "peak": [-1.0, "dBTP"]},
    },
    "music_speech": [],
    "format": {},
}


def _usual(ticks: int, *, is_url: bool) -> tuple[int, ...]:
    """Return what polls answer after a start: 4, 5, 3 for three of them."""
    run = [*[PROCESSING] * max(1, ticks - 2), ENCODING][: max(0, ticks - 1)]
    return (*([INCOMING] if is_url else []), *run, DONE)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
