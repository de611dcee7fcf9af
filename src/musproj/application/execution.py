"""One job, from its inputs to its effect: fetch, process, look, publish."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import attrs

from musproj.application import params
from musproj.application.catalog import Catalog
from musproj.application.execution_context import Phase, Pulse, RunContext
from musproj.application.execution_failure import classify
from musproj.application.execution_inputs import FetchedInput, Fetcher, VersionRecords
from musproj.application.execution_outputs import check_outputs, check_result
from musproj.application.execution_provenance import provenance_of
from musproj.application.execution_publish import Product, Publisher, RunLedger
from musproj.application.execution_publish import RunEnd as PublishedEnd
from musproj.application.models import NO_MODELS, ModelFolder
from musproj.application.outside import Outside
from musproj.application.remote_execution import RemoteExecution
from musproj.application.remote_run import Parked, RemoteLedger
from musproj.domain.job import Job
from musproj.errors import OutputInvalidError
from musproj.ports.clock import Clock
from musproj.ports.processor import AudioProbe, Decode, Processor, ProcessorSpec
from musproj.ports.storage import LocalFiles, Storage

__all__ = ["Execution", "ExecutionLedger", "Parked", "Phase", "Pulse", "RunEnd", "VersionRecords", "classify"]

RunEnd = PublishedEnd | Parked
"""How a run that raised nothing ended."""


class ExecutionLedger(RunLedger, RemoteLedger, Protocol):
    """What a run writes down; every `JobStore` is one."""


@attrs.frozen(kw_only=True)
class Execution:
    """Runs a job that was granted, in the process that calls it.

    The same job may be run any number of times, by any number of processes at once: what it publishes, it
    publishes once.
    """

    storage: Storage
    local_files: LocalFiles | None
    assets: VersionRecords
    jobs: ExecutionLedger
    catalog: Catalog
    probe: AudioProbe
    decode: Decode
    clock: Clock
    models: ModelFolder = NO_MODELS
    max_output_bytes: int | None = None
    """The largest object that the store takes in one create-only PUT; None: any."""
    outside: Outside | None = None
    """None: no job of this installation can be done elsewhere."""
    sleep: Callable[[float], None] = time.sleep

    def run(self, job: Job, token: str, workdir: Path, pulse: Pulse) -> RunEnd:
        """Do all of `job` below the empty folder `workdir`; what is raised, `classify` puts into words.

        Raises:
            MusProjError: it could not be done.
            JobCancelledError: `pulse` said to stop.
            Exception: whatever the processor lets out.
        """
        processor = self.catalog.get(job.type)
        checked = params.parse(processor.spec.params, job.params)
        spec = processor.spec.given(checked)
        pulse.enter(Phase.FETCH)
        if spec.task is not None:
            found = self._elsewhere.process(job, token, spec, checked, workdir, pulse)
            if isinstance(found, Parked):
                return found
            product = found
        else:
            inputs = self._fetch(job, workdir, pulse)
            pulse.enter(Phase.PROCESS)
            product = self._process(job, processor, spec, checked, inputs, workdir, pulse)
        pulse.enter(Phase.PUBLISH)
        publisher = Publisher(storage=self.storage, ledger=self.jobs, clock=self.clock, sleep=self.sleep)
        return publisher.publish(job, token, product, pulse.check)

    @property
    def _fetcher(self) -> Fetcher:
        return Fetcher(storage=self.storage, local_files=self.local_files, records=self.assets)

    @property
    def _elsewhere(self) -> RemoteExecution:
        return RemoteExecution(
            outside=self.outside,
            fetcher=self._fetcher,
            ledger=self.jobs,
            probe=self.probe,
            decode=self.decode,
            clock=self.clock,
            models=self.models,
            max_output_bytes=self.max_output_bytes,
            sleep=self.sleep,
        )

    def _fetch(self, job: Job, workdir: Path, pulse: Pulse) -> tuple[FetchedInput, ...]:
        folder = workdir / "inputs"
        folder.mkdir()
        return self._fetcher.fetch(job, folder, pulse.check)

    def _process(
        self,
        job: Job,
        processor: Processor,
        spec: ProcessorSpec,
        checked: Any,
        inputs: tuple[FetchedInput, ...],
        workdir: Path,
        pulse: Pulse,
    ) -> Product:
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
