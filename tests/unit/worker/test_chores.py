import time

import pytest

from musproj.errors import BackendUnavailableError
from musproj.ports.jobs import WORKER_LIFE
from musproj.worker.chores import ANNOUNCE_S, Chores
from musproj.worker.events import Teller
from musproj.worker.outage import Outage
from musproj.worker.presence import Presence


def wait_of(chores, name, **options):
    assert chores.take(name, **options)
    assert not chores.take(name, **options)
    return chores.next_of([name]) - time.monotonic()


@pytest.mark.parametrize(
    ("lease_s", "is_economical", "low", "high"),
    [(30.0, False, 12.0, 14.5), (300.0, False, 12.0, 14.5), (1.0, False, 0.4, 0.49), (30.0, True, 48.0, 60.0)],
)
def test_a_tick_comes_so_often_that_lease_and_tick_stay_within_their_promise(lease_s, is_economical, low, high):
    for _ in range(20):
        wait = wait_of(Chores(lease_s, is_economical=is_economical), "tick")
        assert low - 0.01 <= wait <= high


def test_a_sign_of_life_comes_well_before_the_last_one_counts_no_more():
    assert WORKER_LIFE.total_seconds() > ANNOUNCE_S + 15
    assert wait_of(Chores(30.0, is_economical=True), "announce") <= ANNOUNCE_S


def test_progress_is_written_more_rarely_where_a_command_is_paid_for():
    assert wait_of(Chores(30.0), "news") <= 1.0
    assert 4.9 <= wait_of(Chores(30.0), "news", is_remote=True) <= 5.0


def test_what_failed_is_due_again_soon_and_what_is_due_sooner_stays_so():
    chores = Chores(30.0)
    assert wait_of(chores, "beat") > 9
    chores.retry("beat")
    assert chores.next_of(["beat"]) - time.monotonic() <= 2.0
    chores.hurry("beat")
    chores.retry("beat")
    assert chores.take("beat")


class Records:
    def __init__(self):
        self.is_away = False
        self.said = []

    def announce(self, worker):
        if self.is_away:
            raise BackendUnavailableError("away")
        self.said.append(worker)

    def withdraw(self, worker_id):
        self.said.append(f"bye {worker_id}")


def test_a_sign_that_nobody_took_is_given_as_soon_as_somebody_does():
    records, outage = Records(), Outage(Teller("w", lambda _: None))
    presence = Presence(jobs=records, outage=outage, sign=lambda: "a sign")
    presence.renew()
    presence.renew()
    assert len(records.said) == 1
    records.is_away = True
    presence.lapse()
    presence.renew()
    records.is_away = False
    presence.renew()
    assert len(records.said) == 1, "the pause is not over"
    outage.retry_at = 0.0
    presence.renew()
    assert len(records.said) == 2
