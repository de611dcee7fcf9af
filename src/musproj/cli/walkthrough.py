"""The main job of an audio app, once, told step by step: what `musproj demo` does."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from musproj import DEFAULT_OWNER, Asset, InputRef, Job, JobSpec, JobStatus, MusProj, Settings, UploadSpec, Version
from musproj.cli import signed, tables, text, wire
from musproj.cli.companion import Companion
from musproj.cli.files import written_whole
from musproj.cli.libraries import require_libraries
from musproj.cli.output import Document, Form, Lines, Output
from musproj.cli.sound import make_recording
from musproj.cli.terminal import progress
from musproj.cli.waiting import exit_of
from musproj.errors import ProcessorTimeoutError

PROCESSOR = "enhance"
PATIENCE = 60.0
"""Seconds for the job; the sound that is made here takes less than one."""
WORKER_GRACE = 10.0
_TEMPORARY = ("musproj demo --keep", "musproj assets list", "musproj serve")


class Walkthrough:
    """One run of the flow in one installation."""

    def __init__(self, out: Output, settings: Settings, folder: Path, *, is_kept: bool) -> None:
        """Work in the installation of `settings`, with files in `folder`."""
        self._out = out
        self._settings = settings
        self._folder = folder
        self._is_kept = is_kept
        self._began = time.monotonic()

    def run(self, file: Path | None) -> int:
        """Do it, and return the exit code of how the job ended.

        Raises:
            MissingExtraError: the processor's libraries are not installed.
            MusProjError: a step failed.
        """
        with MusProj.open(self._settings) as mp:
            require_libraries(mp.catalog.get(PROCESSOR).spec)
            with self._worker():
                source = file or self._make()
                asset = self._upload(mp, source)
                job = self._enhance(mp, asset)
                if job.status is not JobStatus.SUCCEEDED:
                    return self._give_up(job)
                target = self._download(mp, asset, source)
            self._finish(mp, asset, job, target)
        return 0

    @contextmanager
    def _worker(self) -> Generator[None]:
        """Run a worker process for the time of the block."""
        flags = ["--data", str(self._settings.data), "--concurrency", "1", "--quiet"]
        if not self._is_kept:
            stores = (("storage", self._settings.storage), ("metadata", self._settings.metadata))
            flags += [part for name, url in (*stores, ("queue", self._settings.queue)) for part in (f"--{name}", url)]
        worker = Companion(flags)
        worker.start()
        try:
            yield
        finally:
            worker.end(WORKER_GRACE)

    def _make(self) -> Path:
        path = _free_name(self._folder / "take.wav")
        make_recording(path)
        return path

    def _upload(self, mp: MusProj, source: Path) -> Asset:
        spec = UploadSpec(filename=source.name, name=source.name, size=source.stat().st_size)
        ticket = mp.uploads.request(DEFAULT_OWNER, spec)
        key = ticket.asset.upload.object_key
        self._say(1, "request", f"{ticket.asset.asset_id}  v1  {ticket.signed.method} …/{key}")
        signed.send(mp.opened_storage.gate, ticket.signed, key, source)
        self._say(2, "put", text.human_size(source.stat().st_size))
        asset = mp.uploads.confirm(DEFAULT_OWNER, ticket.asset.asset_id)
        self._say(3, "confirm", f"{asset.status}  {_described(mp.assets.version(DEFAULT_OWNER, asset.asset_id, 1))}")
        return asset

    def _enhance(self, mp: MusProj, asset: Asset) -> Job:
        spec = JobSpec(type=PROCESSOR, inputs={"input": InputRef(asset_id=asset.asset_id)})
        submitted = job = mp.jobs.submit(DEFAULT_OWNER, spec).job
        seen: dict[JobStatus, None] = {}
        with progress(PROCESSOR, wanted=not self._out.quiet, no_color=self._out.no_color) as report:
            for job in mp.jobs.watch(DEFAULT_OWNER, submitted.job_id, timeout=PATIENCE):
                report(job.progress / 100, job.stage or "")
                seen[job.status] = None
        if not job.is_terminal:
            raise ProcessorTimeoutError(
                f"The job is {job.status} after {PATIENCE:.0f} s.", hint="Look at: musproj doctor"
            )
        made = f"  v{job.created_version}" if job.created_version else ""
        self._say(4, "submit", f"{PROCESSOR} {job.job_id}  {' → '.join(seen)}{made}")
        return job

    def _give_up(self, job: Job) -> int:
        self._out.result("job", lambda: wire.job(job), ids=[job.job_id], shape=lambda form: tables.job(form, job))
        return exit_of(job)

    def _download(self, mp: MusProj, asset: Asset, source: Path) -> Path:
        download = mp.assets.download(DEFAULT_OWNER, asset.asset_id)
        suffix = Path(download.filename).suffix
        target = _free_name(self._folder / f"{source.stem}-enhanced{suffix}")
        with written_whole(target, force=False) as part:
            part.writelines(signed.fetch(mp.opened_storage.gate, download.signed, download.file.object_key))
        self._say(5, "download", f"{target.name}  {text.human_size(download.file.size_bytes)}")
        return target

    def _finish(self, mp: MusProj, asset: Asset, job: Job, target: Path) -> None:
        versions = mp.assets.versions(DEFAULT_OWNER, asset.asset_id, oldest_first=True).items
        seconds = time.monotonic() - self._began
        before, after = (_number(job, f"{side}Lufs") for side in ("input", "output"))
        if self._out.as_json or self._out.quiet:
            self._out.result(
                "demo",
                lambda: self._document(asset, job, versions, target, seconds),
                ids=[asset.asset_id],
                shape=lambda _: Lines([]),
            )
            return
        loudness = f"{before:.1f} → {after:.1f} LUFS" if before is not None and after is not None else ""
        self._out.show(Lines(["", *(f"  v{v.number}  {v.kind:<9} {_described(v)}" for v in versions)]))
        place = (
            f"Kept: {target}"
            if self._is_kept
            else "All of it was in a temporary folder, gone now; with --keep it is left in this one."
        )
        self._out.show(Lines(["", f"  loudness {loudness}   total {seconds:.1f} s", "", place, "Next:"]))
        self._out.show(Lines([f"  {line}" for line in self._next(asset)]))

    def _next(self, asset: Asset) -> tuple[str, ...]:
        if not self._is_kept:
            return _TEMPORARY
        shown = asset.asset_id
        return (f"musproj assets show {shown}", f"musproj submit analyze {shown} --wait", "musproj serve")

    def _document(
        self, asset: Asset, job: Job, versions: tuple[Version, ...], target: Path, seconds: float
    ) -> Document:
        kept = {"path": str(target)} if self._is_kept else {}
        shown = [wire.version(version) for version in versions]
        return {
            "assetId": asset.asset_id,
            "job": wire.job(job),
            "versions": shown,
            "seconds": round(seconds, 3),
            **kept,
        }

    def _say(self, number: int, step: str, message: str) -> None:
        if not (self._out.as_json or self._out.quiet):
            self._out.show(Lines([f"{number} {step:<9} {message}"]))


def _described(version: Version) -> str:
    form, file = Form(for_people=True), version.primary
    parts = (form.duration(file.duration), form.audio(file.sample_rate, file.channels), form.size(file.size_bytes))
    return "  ".join(filter(None, parts))


def _number(job: Job, name: str) -> float | None:
    value = (job.result or {}).get(name)
    return value if isinstance(value, float) else None


def _free_name(path: Path) -> Path:
    """Return `path`, or the next name with a number that nobody has."""
    number = 1
    found = path
    while found.exists():
        number += 1
        found = path.with_stem(f"{path.stem}-{number}")
    return found
