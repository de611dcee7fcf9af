"""What a worker costs on a Redis that is paid by the command: counted by the server, inside scripts too."""

import pytest

from musproj.domain.ids import DEFAULT_OWNER
from musproj.ports.jobs import Beat, Publication
from musproj.testing.records import live_worker, new_worker
from musproj.worker.chores import ANNOUNCE_S, TICK_S

WORKER = new_worker(types=["enhance"])
OWN_QUESTIONS = {"info", "config", "config|resetstat", "monitor", "del"}


class Counter:
    """Counts what a block of calls costs."""

    def __init__(self, server) -> None:
        self._server = server

    def __enter__(self):
        self._before = self._server.calls()
        return self

    def __exit__(self, *_) -> None:
        calls = self._server.calls()
        self.by_name = {
            name: count - self._before.get(name, 0)
            for name, count in calls.items()
            if name not in OWN_QUESTIONS and count != self._before.get(name, 0)
        }
        self.total = sum(self.by_name.values())


@pytest.fixture
def it(install):
    """Go by the server's time, as in production; everything has been used once."""
    it = install(has_server_time=True)
    it.submit()
    finish(it, it.queue.claim(WORKER))
    return it


def finish(it, run) -> None:
    it.jobs.commit(run.job.job_id, run.token, Publication())
    it.queue.ack(run.job.job_id)


def idle_minutes(it, server, ticks: int, *, wins: bool) -> Counter:
    """Do what an idle supervisor does in that many ticks; the tick's lock expires, or is another's each time."""
    now = it.now()
    counter = Counter(server)
    with counter:
        for _ in range(round(ticks * TICK_S[0] / ANNOUNCE_S)):
            it.jobs.announce(live_worker(WORKER, now))
        for _ in range(ticks):
            if wins:
                it.redis.delete("jobs:tick")
            it.queue._looked_at -= TICK_S[0]  # as if so long ago
            it.jobs.tick()
            assert it.queue.claim(WORKER) is None
    return counter


class TestIdle:
    @pytest.mark.parametrize("wins", [True, False])
    def test_at_most_three_commands_in_ten_seconds(self, it, redis_server, wins):
        feed = it.queue.listen()
        stops = it.jobs.listen(only_stops=True)
        ticks = 20
        if not wins:
            it.redis.set("jobs:tick", "another")
        counter = idle_minutes(it, redis_server, ticks, wins=wins)
        seconds = ticks * TICK_S[0]
        waiting = seconds / 60  # the blocking command, once a minute
        feed.close()
        stops.close()
        assert counter.total + waiting <= 0.3 * seconds, counter.by_name
        if not wins:
            assert counter.total + waiting <= 0.2 * seconds, counter.by_name

    def test_waiting_jobs_of_others_are_not_asked_for_all_the_time(self, it, redis_server):
        """A job that nobody here can run."""
        it.submit("separate")
        it.redis.set("jobs:tick", "another")
        feed = it.queue.listen()
        assert it.queue.claim(WORKER) is None
        counter = idle_minutes(it, redis_server, 5, wins=False)
        feed.close()
        assert counter.total <= 0.5 * 5 * TICK_S[0], counter.by_name


class TestPerJob:
    def test_at_most_45_commands(self, it, redis_server):
        with Counter(redis_server) as planting:
            it.plant_asset()
        with Counter(redis_server) as counter:
            it.submit()
            finish(it, it.queue.claim(WORKER))
        assert counter.total - planting.total <= 45, counter.by_name

    def test_at_most_10_are_sent(self, it, redis_server):
        sent = []
        with it.redis.monitor() as monitor:
            it.submit()
            finish(it, it.queue.claim(WORKER))
            it.redis.echo("end")
            for seen in monitor.listen():
                if seen["command"].startswith("ECHO"):
                    break
                if seen["client_type"] != "lua":
                    sent.append(seen["command"].split()[0])
        ours = [name for name in sent if name != "HSET"]  # those put the asset there
        assert len(ours) <= 10, sent

    def test_a_beat_costs_six(self, it, redis_server):
        it.submit()
        run = it.queue.claim(WORKER)
        with Counter(redis_server) as counter:
            it.jobs.beat([Beat(job_id=run.job.job_id, token=run.token)])
        assert counter.total <= 6, counter.by_name

    def test_a_mere_sign_of_life_wakes_nobody(self, it, redis_server):
        it.submit()
        run = it.queue.claim(WORKER)
        with Counter(redis_server) as counter:
            it.jobs.beat([Beat(job_id=run.job.job_id, token=run.token)])
        assert "publish" not in counter.by_name

    def test_a_status_costs_one(self, it, redis_server):
        job = it.submit()
        with Counter(redis_server) as counter:
            it.jobs.get(DEFAULT_OWNER, job.job_id)
        assert counter.by_name == {"hgetall": 1}
