"""A job whose work an outside service does, from its input to its product."""

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import attrs

from musproj.application import params
from musproj.application.execution_context import Phase, Pulse, RunContext
from musproj.application.execution_inputs import Fetcher, RecordedInput, recorded_info
from musproj.application.execution_outputs import check_outputs, check_result
from musproj.application.execution_provenance import provenance_of
from musproj.application.execution_publish import Product
from musproj.application.models import ModelFolder
from musproj.application.remote_policy import RemotePolicy
from musproj.application.remote_results import ResultReader, largest_result
from musproj.application.remote_run import Parked, RemoteLedger, RemoteRun
from musproj.domain.job import Job
from musproj.domain.keys import ObjectKey, parse_file_key
from musproj.errors import ConfigurationError
from musproj.ports.clock import Clock
from musproj.ports.processor import AudioProbe, Outcome, ProcessorSpec, RemoteTask
from musproj.ports.remote import RemoteAccounts, RemoteInput, RemoteService


class Services(Protocol):
    """The accounts of this installation at outside services."""

    __slots__ = ()

    @abstractmethod
    def names(self) -> frozenset[str]:
        """Return the services that have a key here."""

    @abstractmethod
    def open(self, name: str) -> RemoteService:
        """Return the service, opened once.

        Raises:
            ConfigurationError: it has no key here, or a library is missing.
        """


@attrs.frozen(kw_only=True)
class Outside:
    """What a run needs to have its work done elsewhere."""

    services: Services
    accounts: RemoteAccounts
    policy: RemotePolicy
    signed_url: Callable[[ObjectKey], str | None]
    """Returns an address of a stored object that outside services can reach, or None."""


@attrs.frozen(kw_only=True)
class RemoteExecution:
    """Has jobs done elsewhere, and brings home what was made."""

    outside: Outside | None
    fetcher: Fetcher
    ledger: RemoteLedger
    probe: AudioProbe
    clock: Clock
    models: ModelFolder
    max_output_bytes: int | None
    sleep: Callable[[float], None]

    def process(
        self, job: Job, token: str, spec: ProcessorSpec, checked: Any, workdir: Path, pulse: Pulse
    ) -> Product | Parked:
        """Go on with the job's operation until its results are here, or the job has to wait.

        Raises:
            ConfigurationError: there is no such account here.
            RemoteError: as `RemoteRun.results`.
        """
        task, outside = spec.task, self.outside
        if task is None or outside is None:
            raise ConfigurationError(f"{spec.name} needs an outside service, which is not set up here.")
        inputs = self.fetcher.look_up(job)
        folder = workdir / "work"
        folder.mkdir()
        ctx = RunContext(folder, pulse, self.models)
        run = self._run(job, token, task, outside, inputs, workdir, ctx, pulse)
        found = run.results()
        if isinstance(found, Parked):
            return found
        pulse.enter(Phase.PROCESS)
        outcome = Outcome(found) if task.then is None else task.then(found, ctx)
        return Product(
            spec=spec,
            outputs=check_outputs(spec, outcome, folder, self.probe, self.max_output_bytes),
            result=check_result(outcome, ctx.warnings),
            provenance=provenance_of(job, spec, params.canonical(checked), inputs, ctx.models),
        )

    def _run(
        self,
        job: Job,
        token: str,
        task: RemoteTask,
        outside: Outside,
        inputs: tuple[RecordedInput, ...],
        workdir: Path,
        ctx: RunContext,
        pulse: Pulse,
    ) -> RemoteRun:
        (given,) = inputs
        record = given.record
        reader = ResultReader(
            folder=ctx.workdir,
            probe=self.probe,
            duration=record.duration,
            max_bytes=largest_result(record.sample_rate, record.channels, record.duration, self.max_output_bytes),
            check=pulse.check,
            warn=ctx.warn,
        )
        return RemoteRun(
            job=job,
            token=token,
            task=task,
            service=outside.services.open(task.service),
            ledger=self.ledger,
            accounts=outside.accounts,
            policy=outside.policy,
            clock=self.clock,
            pulse=pulse,
            source=self._source(given, outside, workdir, pulse),
            input_sha256=record.sha256,
            reader=reader,
            sleep=self.sleep,
        )

    def _source(self, given: RecordedInput, outside: Outside, workdir: Path, pulse: Pulse) -> RemoteInput:
        """Return the input, which is brought onto this disk only where it has to be sent."""
        record = given.record
        parts = parse_file_key(record.object_key)

        def path() -> Path:
            folder = workdir / "inputs"
            folder.mkdir(exist_ok=True)
            return self.fetcher.bring(given, folder, pulse.check).file.path

        return RemoteInput(
            path=path,
            url=lambda: outside.signed_url(record.object_key),
            size=record.size_bytes,
            duration=recorded_info(record).duration,
            extension=parts.extension if parts else "bin",
        )
