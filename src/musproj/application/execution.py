"""One job, from its inputs to its effect: fetch, process, look, publish."""

import time
from collections.abc import Callable
from pathlib import Path

import attrs

from musproj.application import params
from musproj.application.catalog import Catalog
from musproj.application.execution_context import Phase, Pulse, RunContext
from musproj.application.execution_failure import classify
from musproj.application.execution_inputs import FetchedInput, Fetcher, VersionRecords
from musproj.application.execution_outputs import check_outputs, check_result
from musproj.application.execution_provenance import provenance_of
from musproj.application.execution_publish import Product, Publisher, RunEnd, RunLedger
from musproj.application.models import NO_MODELS, ModelFolder
from musproj.domain.job import Job
from musproj.errors import OutputInvalidError
from musproj.ports.clock import Clock
from musproj.ports.processor import AudioProbe, Processor
from musproj.ports.storage import LocalFiles, Storage

__all__ = ["Execution", "Phase", "Pulse", "RunEnd", "RunLedger", "VersionRecords", "classify"]


@attrs.frozen(kw_only=True)
class Execution:
    """Runs a job that was granted, in the process that calls it.

    The same job may be run any number of times, by any number of processes at once: what it publishes, it
    publishes once.
    """

    storage: Storage
    local_files: LocalFiles | None
    assets: VersionRecords
    jobs: RunLedger
    catalog: Catalog
    probe: AudioProbe
    clock: Clock
    models: ModelFolder = NO_MODELS
    max_output_bytes: int | None = None
    """The largest object that the store takes in one create-only PUT; None: any."""
    sleep: Callable[[float], None] = time.sleep

    def run(self, job: Job, token: str, workdir: Path, pulse: Pulse) -> RunEnd:
        """Do all of `job` below the empty folder `workdir`; what is raised, `classify` puts into words.

        Raises:
            MusProjError: it could not be done.
            JobCancelledError: `pulse` said to stop.
            Exception: whatever the processor lets out.
        """
        processor = self.catalog.get(job.type)
        pulse.enter(Phase.FETCH)
        inputs = self._fetch(job, workdir, pulse)
        pulse.enter(Phase.PROCESS)
        product = self._process(job, processor, inputs, workdir, pulse)
        pulse.enter(Phase.PUBLISH)
        publisher = Publisher(storage=self.storage, ledger=self.jobs, clock=self.clock, sleep=self.sleep)
        return publisher.publish(job, token, product, pulse.check)

    def _fetch(self, job: Job, workdir: Path, pulse: Pulse) -> tuple[FetchedInput, ...]:
        folder = workdir / "inputs"
        folder.mkdir()
        fetcher = Fetcher(storage=self.storage, local_files=self.local_files, records=self.assets)
        return fetcher.fetch(job, folder, pulse.check)

    def _process(
        self, job: Job, processor: Processor, inputs: tuple[FetchedInput, ...], workdir: Path, pulse: Pulse
    ) -> Product:
        checked = params.parse(processor.spec.params, job.params)
        spec = processor.spec.given(checked)
        folder = workdir / "work"
        folder.mkdir()
        ctx = RunContext(folder, pulse, self.models)
        before = [_state(given) for given in inputs]
        outcome = processor.run({given.wanted.port: given.file for given in inputs}, checked, ctx)
        if before != [_state(given) for given in inputs]:
            # In a local store the input is the stored object itself: better a failed job than a quiet loss.
            raise OutputInvalidError(f"{spec.name} changed its input.", hint="Inputs are read-only; write a copy.")
        ctx.progress(1.0)
        return Product(
            spec=spec,
            outputs=check_outputs(spec, outcome, folder, self.probe, self.max_output_bytes),
            result=check_result(outcome, ctx.warnings),
            provenance=provenance_of(job, spec, params.canonical(checked), inputs, ctx.models),
        )


def _state(given: FetchedInput) -> tuple[int, int, int]:
    facts = given.file.path.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
