"""The database behind its scheme: one file for metadata and queue."""

from contextlib import closing
from pathlib import Path

import pytest

from musproj.adapters.local.plugin import open_metadata, open_queue
from musproj.domain.ledger import Rules
from musproj.errors import BackendUnavailableError, ConfigurationError
from musproj.ports.plugin import OpenedMetadata, PluginContext
from musproj.testing.clock import FakeClock
from musproj.testing.ledger import Ledger
from musproj.testing.records import new_worker


@pytest.fixture
def context(tmp_path: Path, clock: FakeClock) -> PluginContext:
    return PluginContext(
        clock=clock,
        rules=Rules(),
        queue_name="audio-jobs",
        data=tmp_path,
        base_url="http://127.0.0.1:8700",
        max_upload_bytes=1 << 20,
    )


def test_jobs_submitted_to_the_metadata_come_out_of_the_queue(context: PluginContext, clock: FakeClock) -> None:
    url = f"sqlite:{context.data}/new/musproj.db"
    metadata = open_metadata(url, context)
    with closing(metadata):
        queue = open_queue(url, context, metadata)
        ledger = Ledger(
            clock=clock,
            rules=context.rules,
            assets=metadata.assets,
            jobs=metadata.jobs,
            queue=queue,
            accounts=metadata.accounts,
        )
        job = ledger.submit(ledger.ready())
        run = queue.claim(new_worker())
        assert run is not None
        assert run.job.job_id == job.job_id
        assert "in order" in metadata.check()
        queue.close()
        assert metadata.jobs.find(job.job_id) == run.job
    with pytest.raises(BackendUnavailableError, match="closed"):
        metadata.jobs.counts()


def test_a_relative_path_and_its_absolute_one_are_one_file(
    context: PluginContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(context.data)
    with closing(open_metadata("sqlite:musproj.db", context)) as metadata:
        open_queue(f"sqlite://{context.data}/musproj.db", context, metadata)


@pytest.mark.parametrize("is_foreign", [True, False])
def test_a_queue_elsewhere_is_refused(context: PluginContext, *, is_foreign: bool) -> None:
    with closing(open_metadata(f"sqlite:{context.data}/musproj.db", context)) as metadata:
        other = OpenedMetadata(assets=metadata.assets, jobs=metadata.jobs, close=metadata.close)
        url = f"sqlite:{context.data}/{'musproj' if is_foreign else 'other'}.db"
        with pytest.raises(ConfigurationError, match="must be the file of MUSPROJ_METADATA"):
            open_queue(url, context, other if is_foreign else metadata)


def test_a_url_without_a_path_is_refused(context: PluginContext) -> None:
    with pytest.raises(ConfigurationError, match="names no path"):
        open_metadata("sqlite:", context)
