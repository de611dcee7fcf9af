"""Webhooks of outside services: a hint is worth a look, and nothing that is sent is believed or answered."""

from datetime import timedelta

import attrs
import pytest

from musproj.application.remote_hooks import hook_mac, hook_url
from musproj.domain.remote import RemotePhase
from musproj.testing.records import new_job, new_op

SECRET = "a-long-random-text"
KEY = "a-long-secret"
PERCENT = {"content-type": "application/x-www-form-urlencoded"}
DONE = b"uuid=Qm3nV8aLr2XhTz5kWp0sYd&status=3&status_string=Done"


@attrs.frozen(kw_only=True)
class Hooks:
    """An API with one job, whose operation is asked for in a minute."""

    api: object
    job: object

    @property
    def op(self):
        return self.api.mp.metadata.jobs.find(self.job.job_id).remote

    @property
    def mac(self):
        return hook_mac(SECRET, "auphonic", self.job.job_id, self.job.remote.token)

    def send(self, *, service="auphonic", job_id=None, mac=None, body=DONE, method="POST", headers=PERCENT):
        path = f"/hooks/{service}/{job_id or self.job.job_id}/{mac or self.mac}"
        return self.api.request(method, path, body, headers=headers)


@pytest.fixture
def hooks_of(open_api):
    """Give a function that opens an API with one job: `phase` and what else its operation has; keywords of settings."""

    def make(phase=RemotePhase.SUBMITTED, *, wait=60.0, op=None, **settings):
        api = open_api(**{"webhook_secret": SECRET, **settings})
        now = api.clock.now()
        asset = api.mp.metadata.assets.get("default", api.ready_asset())
        job = new_job(asset, now, "gain")
        found = new_op(job, phase=phase, remote_id="r", submitted_at=now, next_poll=now + timedelta(seconds=wait))
        job = attrs.evolve(job, remote=attrs.evolve(found, **(op or {})))
        api.mp.metadata.jobs.submit(job)
        return Hooks(api=api, job=job)

    return make


@pytest.fixture
def hooks(hooks_of):
    return hooks_of()


def test_a_hint_lets_the_service_be_asked_at_once(hooks):
    assert hooks.api.mp.metadata.jobs.remotes(limit=10) == []
    hooks.api.clock.advance(5)

    answer = hooks.send()

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["cache-control"] == "no-store"
    assert hooks.op == hooks.job.remote.evolve(next_poll=hooks.api.clock.now())
    (due,) = hooks.api.mp.metadata.jobs.remotes(limit=10)
    assert due.job_id == hooks.job.job_id


def test_the_address_that_a_service_is_given_is_the_one_that_is_heard(hooks):
    url = hook_url("http://localhost", SECRET, hooks.job.job_id, hooks.job.remote)

    assert hooks.api.post(url, DONE, headers=PERCENT).status_code == 204
    assert hooks.op.next_poll == hooks.api.clock.now()


@pytest.mark.parametrize(
    "wrong",
    [
        {"mac": "0" * 32},
        {"mac": hook_mac(SECRET, "auphonic", "job_other", "t")},
        {"mac": hook_mac("another secret", "auphonic", "job", "t")},
        {"mac": "short"},
        {"service": "lalal"},
        {"service": "nobody"},
        {"job_id": "job_01J0000000000000000000000"},
    ],
    ids=["zeros", "of another job", "of another secret", "short", "other service", "unknown service", "unknown job"],
)
def test_a_wrong_address_is_answered_alike_and_changes_nothing(hooks, wrong):
    right = hooks.send(body=b"")
    hooks.api.mp.metadata.jobs.hear(hooks.job.job_id, hooks.op.evolve(next_poll=hooks.job.remote.next_poll))
    before = hooks.api.mp.metadata.jobs.find(hooks.job.job_id)

    answer = hooks.send(**wrong)

    assert (answer.status_code, answer.content) == (204, b"")
    assert set(answer.headers) == set(right.headers)
    assert hooks.api.mp.metadata.jobs.find(hooks.job.job_id) == before


@pytest.mark.parametrize("cut", [1, 16, 31])
def test_a_part_of_the_address_is_not_enough(hooks, cut):
    hooks.send(mac=hooks.mac[:cut])
    assert hooks.op == hooks.job.remote


def test_an_address_holds_for_one_service_one_job_and_one_operation(hooks):
    found = {
        hook_mac(secret, service, job_id, token)
        for secret in (SECRET, "other")
        for service in ("auphonic", "lalal")
        for job_id in ("job_1", "job_2")
        for token in ("a", "b")
    }
    assert len(found) == 16
    assert {len(mac) for mac in found} == {32}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"{", {"content-type": "application/json"}),
        (b"\xff\x00" * 512, {"content-type": "text/plain"}),
        (b"x" * (1 << 20), PERCENT),
        (
            b'--b\r\ncontent-disposition: form-data; name="uuid"\r\n\r\nq\r\n--b--',
            {"content-type": "multipart/form-data"},
        ),
        (DONE, {"content-encoding": "gzip"}),
        (DONE, {"idempotency-key": "k"}),
    ],
    ids=["none", "half of JSON", "binary", "1 MiB", "form data", "not zipped", "idempotency key"],
)
def test_nobody_reads_what_is_sent(hooks, body, headers):
    assert hooks.send(body=body, headers=headers).status_code == 204
    assert hooks.op.next_poll == hooks.api.clock.now()


def test_no_key_of_the_api_is_needed(hooks_of):
    hooks = hooks_of(api_key=KEY)

    assert hooks.api.get("/jobs").status_code == 401
    assert hooks.send().status_code == 204
    assert hooks.send(headers={**PERCENT, "authorization": "Bearer wrong"}).status_code == 204
    assert hooks.op.next_poll == hooks.api.clock.now()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_none_of_it(hooks, method):
    answer = hooks.send(method=method, body=None, headers={})

    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) >= {"POST"}
    assert hooks.op == hooks.job.remote


@pytest.mark.parametrize(("wait", "is_heard"), [(0.0, False), (1.0, False), (2.0, False), (2.5, True), (-60.0, False)])
def test_hints_of_what_is_asked_for_anyway_write_nothing(hooks_of, wait, is_heard):
    hooks = hooks_of(wait=wait)
    hooks.send()
    assert (hooks.op != hooks.job.remote) is is_heard


def test_a_second_hint_writes_nothing(hooks):
    hooks.send()
    once = hooks.op
    hooks.api.clock.advance(0.5)

    assert hooks.send().status_code == 204
    assert hooks.op == once


@pytest.mark.parametrize("phase", [phase for phase in RemotePhase if phase is not RemotePhase.SUBMITTED])
def test_what_the_service_does_not_work_on_is_not_asked_for(hooks_of, phase):
    hooks = hooks_of(phase)

    assert hooks.send().status_code == 204
    assert hooks.op == hooks.job.remote


def test_a_job_without_an_operation_is_left_alone(hooks):
    job_id = hooks.api.job()
    before = hooks.api.mp.metadata.jobs.find(job_id)

    assert hooks.send(job_id=job_id).status_code == 204
    assert hooks.api.mp.metadata.jobs.find(job_id) == before


def test_without_a_secret_no_address_is_right(hooks_of):
    hooks = hooks_of(webhook_secret="")
    empty = hook_mac("", "auphonic", hooks.job.job_id, hooks.job.remote.token)

    assert [hooks.send(mac=mac).status_code for mac in (hooks.mac, empty)] == [204, 204]
    assert hooks.op == hooks.job.remote


def test_a_job_is_shown_as_before_and_without_the_address(hooks):
    path = f"/jobs/{hooks.job.job_id}"
    before = hooks.api.get(path).json()
    hooks.send()

    assert hooks.api.get(path).json() == before
    assert hooks.mac not in hooks.api.get(path).text
