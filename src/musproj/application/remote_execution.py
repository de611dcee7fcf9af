"""A job whose work an outside service does, from its input to its product."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from musproj.application import params
from musproj.application.execution_context import Phase, Pulse, RunContext
from musproj.application.execution_inputs import Fetcher, RecordedInput, recorded_info
from musproj.application.execution_outputs import check_outputs, check_result
from musproj.application.execution_provenance import provenance_of
from musproj.application.execution_publish import Product
from musproj.application.models import ModelFolder
from musproj.application.outside import Outside
from musproj.application.remote_account import AccountUse
from musproj.application.remote_purchase import Purchase
from musproj.application.remote_record import OpRecord
from musproj.application.remote_results import ResultReader, largest_result
from musproj.application.remote_run import Parked, RemoteLedger, RemoteRun
from musproj.application.remote_setbacks import Setbacks
from musproj.domain.job import Job
from musproj.domain.keys import parse_file_key
from musproj.domain.version import File
from musproj.errors import ConfigurationError
from musproj.ports.clock import Clock
from musproj.ports.processor import AudioProbe, Decode, Outcome, ProcessorSpec, RemoteTask
from musproj.ports.remote import RemoteInput


@attrs.frozen(kw_only=True)
class RemoteExecution:
    """Has jobs done elsewhere, and brings home what was made."""

    outside: Outside | None
    fetcher: Fetcher
    ledger: RemoteLedger
    probe: AudioProbe
    decode: Decode
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
        pulse.enter(Phase.PROCESS)  # what is sent and fetched has limits of its own, by its size
        record = OpRecord(job=job, token=token, ledger=self.ledger, clock=self.clock)
        found = self._run(record, task, outside, inputs[0], workdir, ctx).results()
        if isinstance(found, Parked):
            return found
        outcome = Outcome(found) if task.then is None else task.then(found, ctx)
        return Product(
            spec=spec,
            outputs=check_outputs(spec, outcome, folder, self.probe, self.max_output_bytes),
            result=check_result(outcome, ctx.warnings),
            provenance=provenance_of(job, spec, params.canonical(checked), inputs, ctx.models),
        )

    def _run(
        self,
        record: OpRecord,
        task: RemoteTask,
        outside: Outside,
        given: RecordedInput,
        workdir: Path,
        ctx: RunContext,
    ) -> RemoteRun:
        service, source = outside.services.open(task.service), self._source(given, outside, workdir, ctx)
        account = AccountUse(
            service=service, accounts=outside.accounts, policy=outside.policy, clock=self.clock, record=record
        )
        setbacks = Setbacks(service=service, record=record, account=account, policy=outside.policy)
        purchase = Purchase(
            service=service,
            task=task,
            source=source,
            record=record,
            account=account,
            setbacks=setbacks,
            policy=outside.policy,
            clock=self.clock,
            sleep=self.sleep,
        )
        return RemoteRun(
            task=task,
            service=service,
            policy=outside.policy,
            clock=self.clock,
            ctx=ctx,
            source=source,
            input_sha256=given.record.sha256,
            reader=self._reader(given.record, ctx),
            record=record,
            account=account,
            setbacks=setbacks,
            purchase=purchase,
        )

    def _reader(self, record: File, ctx: RunContext) -> ResultReader:
        most = largest_result(record.sample_rate, record.channels, record.duration, self.max_output_bytes)
        return ResultReader(
            folder=ctx.workdir,
            probe=self.probe,
            decode=self.decode,
            duration=record.duration,
            max_bytes=most,
            check=ctx.check,
            warn=ctx.warn,
        )

    def _source(self, given: RecordedInput, outside: Outside, workdir: Path, ctx: RunContext) -> RemoteInput:
        """Return the input, which is brought onto this disk only where it has to be sent, and once."""
        record = given.record
        parts = parse_file_key(record.object_key)

        @cache
        def path() -> Path:
            folder = workdir / "inputs"
            folder.mkdir()
            return self.fetcher.bring(given, folder, ctx.check).file.path

        return RemoteInput(
            path=path,
            url=lambda: outside.signed_url(record.object_key),
            url_expires=self.clock.now() + outside.url_life,
            size=record.size_bytes,
            duration=recorded_info(record).duration,
            extension=parts.extension if parts else "bin",
        )
