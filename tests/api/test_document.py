"""The server against its own document: no 5xx, no undocumented status, no answer off its schema."""

import json
import os
import random
import select
import subprocess
import sys
from collections.abc import Iterator

import attrs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from musproj import DEFAULT_OWNER, MusProj, Settings
from musproj.application.jobs import InputRef, JobSpec
from musproj.http import openapi
from musproj.http.routes import API
from musproj.testing.trouble import write_tone

PATIENCE_SECONDS = 20
KEY = "the-key-of-this-test"
EXAMPLES = 50
"""For each of some 25 operations, a few milliseconds each."""


@attrs.frozen
class Known:
    """What a path may name so that a request gets past the first look."""

    asset_ids: list[str]
    job_ids: list[str]

    def fill(self, path_parameters: dict[str, object]) -> None:
        choices = {
            "assetId": self.asset_ids,
            "jobId": self.job_ids,
            "name": ["analyze", "enhance"],
            "version": ["1", "head"],
        }
        for name in path_parameters.keys() & choices.keys():
            if random.random() < 0.7:
                path_parameters[name] = random.choice(choices[name])


@pytest.fixture(scope="session")
def url(tmp_path_factory) -> Iterator[str]:
    """Serve in a process of its own: in this one its threads would draw from the `random` that Hypothesis seeds."""
    folder = tmp_path_factory.mktemp("api")
    with MusProj.open(Settings(data=folder)) as mp:
        seed(mp, folder)
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MUSPROJ_")}  # noqa: TID251 - a child's
    environ = {**outside, "MUSPROJ_DATA": str(folder), "MUSPROJ_API_KEY": KEY}
    command = [sys.executable, "-m", "musproj", "serve", "--no-worker", "--json", "--port", "0"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(first_line(process))["api"]
        finally:  # whatever happened: leaving the block waits for its end
            process.terminate()
            try:
                code = process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert code == 0


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE_SECONDS)
    assert ready, "the server says nothing"
    return process.stdout.readline()


KNOWN = Known([], [])

EXCLUDED = [positive_data_acceptance]
"""Whether a job type, a cursor or an entity tag is one of ours, no schema can tell."""


def seed(mp: MusProj, folder) -> None:
    """Make a few assets and jobs."""
    for number in range(3):
        asset = mp.uploads.put_file(DEFAULT_OWNER, write_tone(folder / "tone.wav", seed=number))
        KNOWN.asset_ids.append(asset.asset_id)
        spec = JobSpec(type="analyze", inputs={"input": InputRef(asset_id=asset.asset_id)})
        KNOWN.job_ids.append(mp.jobs.submit(DEFAULT_OWNER, spec).job.job_id)


schema = schemathesis.openapi.from_dict(openapi.document(API.operations))


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_server_does_what_its_document_says(case, url):
    KNOWN.fill(case.path_parameters)
    case.query.pop("wait", None)  # a request that is held costs this test its time, and is tested elsewhere
    case.headers.pop("Prefer", None)

    case.call_and_validate(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, excluded_checks=EXCLUDED)
