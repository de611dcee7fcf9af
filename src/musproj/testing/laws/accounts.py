"""Accounts at outside services: what all workers know of them."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

import pytest

from musproj.domain.job import FailureKind
from musproj.domain.remote import RemoteFault, RemotePhase
from musproj.errors import BackendUnavailableError
from musproj.ports.remote import Pause, RemoteAccounts
from musproj.testing.contract import LedgerContract, need
from musproj.testing.laws.remotes import noted, park, submitted
from musproj.testing.ledger import Ledger
from musproj.testing.records import new_op
from musproj.testing.threads import at_once, error_of

HOUR = timedelta(hours=1)
MOMENT = timedelta(milliseconds=1)
DAY = "2026-01-01"
ACCOUNT = "auphonic:default"
FAULT = RemoteFault(code="remote_auth", message="The key is refused.")
SLACK = 0.002
"""Seconds by which a wait may differ: a fake clock knows milliseconds."""


class AccountLaws(LedgerContract):
    """Its poller, its rate, its pause, its day's costs; skipped where an adapter knows no accounts."""

    @pytest.fixture
    def accounts(self, ledger: Ledger) -> RemoteAccounts:
        """Return the accounts, where the adapter knows any."""
        return accounts_of(ledger)

    # ── lead ──

    def test_an_account_has_one_leader(self, accounts: RemoteAccounts) -> None:
        """Who came first, for as long as it asks; each account has its own."""
        assert accounts.lead(ACCOUNT, "a", HOUR)
        assert not accounts.lead(ACCOUNT, "b", HOUR)
        assert accounts.lead(ACCOUNT, "a", HOUR)
        assert not accounts.lead(ACCOUNT, "b", HOUR)
        assert accounts.lead("auphonic:other", "b", HOUR)
        assert not accounts.lead("auphonic:other", "a", HOUR)

    def test_a_leader_that_is_gone_is_followed(self, ledger: Ledger, accounts: RemoteAccounts) -> None:
        """After its life; it is then a stranger itself."""
        life = timedelta(milliseconds=200)
        assert accounts.lead(ACCOUNT, "a", life)
        let_pass(ledger, 0.25)
        assert accounts.lead(ACCOUNT, "b", HOUR)
        assert not accounts.lead(ACCOUNT, "a", life)

    def test_a_leader_that_asks_again_stays(self, ledger: Ledger, accounts: RemoteAccounts) -> None:
        """Its life counts from the last time it asked."""
        life = timedelta(seconds=1)
        assert accounts.lead(ACCOUNT, "a", life)
        let_pass(ledger, 0.6)
        asked = time.monotonic()
        assert accounts.lead(ACCOUNT, "a", life)
        let_pass(ledger, 0.6)
        is_followed = accounts.lead(ACCOUNT, "b", life)
        assert not is_followed or time.monotonic() - asked > 0.9  # a machine as slow as that says nothing

    def test_of_8_that_want_to_lead_one_does(self, accounts: RemoteAccounts) -> None:
        """However near to each other they ask."""
        for turn in range(10):
            answers = at_once([partial(accounts.lead, f"auphonic:{turn}", f"w{who}", HOUR) for who in range(8)])
            assert answers.count(True) == 1

    # ── take, hold ──

    def test_a_burst_goes_at_once(self, accounts: RemoteAccounts) -> None:
        """The call after it waits; to ask costs nothing."""
        assert [accounts.take(ACCOUNT, per_minute=60, burst=5) for _ in range(5)] == [0.0] * 5
        waits = [accounts.take(ACCOUNT, per_minute=60, burst=5) for _ in range(3)]
        assert waits == [pytest.approx(1.0, abs=SLACK)] * 3
        assert accounts.take("auphonic:other", per_minute=60, burst=5) == 0.0

    @pytest.mark.parametrize(("per_minute", "burst"), [(60, 1), (60, 5), (7.5, 2), (1000, 3)])
    def test_who_waits_as_told_goes_at_the_rate(
        self, ledger: Ledger, accounts: RemoteAccounts, per_minute: float, burst: int
    ) -> None:
        """The waits add up: so many calls take so long, and none is refused after its wait."""
        began, calls = ledger.now, 20
        for _ in range(calls):
            wait = accounts.take(ACCOUNT, per_minute=per_minute, burst=burst)
            if wait:
                ledger.clock.advance(wait + 0.001)
                assert accounts.take(ACCOUNT, per_minute=per_minute, burst=burst) == 0.0
        seconds = (ledger.now - began).total_seconds()
        assert seconds == pytest.approx((calls - burst) * 60 / per_minute, abs=calls * SLACK)

    def test_no_minute_has_more_calls_than_its_rate_and_a_burst(self, ledger: Ledger, accounts: RemoteAccounts) -> None:
        """Whenever they come; after a pause there is one burst, not what was saved up."""
        per_minute, burst = 30, 4
        began = ledger.now
        taken: list[float] = []
        for number in range(300):
            ledger.clock.advance(45 if number in (100, 200) else 0.5)
            waits = [accounts.take(ACCOUNT, per_minute=per_minute, burst=burst) for _ in range(2)]
            taken += [(ledger.now - began).total_seconds()] * waits.count(0.0)
        most = max(sum(start <= at < start + 60 for at in taken) for start in taken)
        assert most <= per_minute + burst
        assert len(taken) >= taken[-1] / 60 * per_minute * 0.6  # it goes on, but for the two pauses

    def test_of_16_that_call_at_once_a_burst_goes(self, accounts: RemoteAccounts) -> None:
        """The others are told to wait."""
        take = partial(accounts.take, ACCOUNT, per_minute=1, burst=5)
        assert at_once([take] * 16).count(0.0) == 5

    @pytest.mark.parametrize("burst", [1, 10])
    def test_while_it_is_held_nobody_calls(self, ledger: Ledger, accounts: RemoteAccounts, burst: int) -> None:
        """The service asked for it, so a burst that is left does not count; the longer of two counts."""
        take = partial(accounts.take, ACCOUNT, per_minute=60, burst=burst)
        accounts.hold(ACCOUNT, 5)
        assert take() == pytest.approx(5.0, abs=SLACK)
        accounts.hold(ACCOUNT, 8)
        accounts.hold(ACCOUNT, 2)
        assert take() == pytest.approx(8.0, abs=SLACK)
        assert accounts.take("auphonic:other", per_minute=60, burst=burst) == 0.0
        ledger.clock.advance(7.5)
        assert take() == pytest.approx(0.5, abs=SLACK)
        ledger.clock.advance(0.501)
        assert take() == 0.0

    def test_a_hold_comes_on_top_of_no_wait(self, ledger: Ledger, accounts: RemoteAccounts) -> None:
        """Who has to wait longer for the rate waits for that."""
        take = partial(accounts.take, ACCOUNT, per_minute=1, burst=1)
        assert take() == 0.0
        accounts.hold(ACCOUNT, 10)
        assert take() == pytest.approx(60.0, abs=SLACK)
        ledger.clock.advance(60.001)
        assert take() == 0.0

    # ── pause ──

    def test_a_paused_account_says_why(self, ledger: Ledger, accounts: RemoteAccounts) -> None:
        """Until somebody mended it; each with its own reason, the last one counts."""
        assert list(accounts.pauses()) == []
        other = RemoteFault(code="remote_quota", message="Nothing is left. €")
        accounts.pause(ACCOUNT, FAULT, HOUR)
        accounts.pause("lalal:default", FAULT, HOUR)
        accounts.pause("lalal:default", other, 2 * HOUR)
        first = Pause(account=ACCOUNT, until=ledger.now + HOUR, fault=FAULT)
        second = Pause(account="lalal:default", until=ledger.now + 2 * HOUR, fault=other)
        assert pauses(accounts) == [first, second]
        accounts.resume(ACCOUNT)
        accounts.resume(ACCOUNT)
        accounts.resume("nobody:default")
        assert pauses(accounts) == [second]

    def test_a_pause_ends_by_itself(self, ledger: Ledger, accounts: RemoteAccounts) -> None:
        """After its life the account is tried again."""
        accounts.pause(ACCOUNT, FAULT, HOUR)
        ledger.clock.advance(HOUR - MOMENT)
        assert [pause.account for pause in accounts.pauses()] == [ACCOUNT]
        ledger.clock.advance(MOMENT)
        assert list(accounts.pauses()) == []

    # ── running ──

    def test_what_a_service_works_on_is_counted(self, ledger: Ledger, accounts: RemoteAccounts) -> None:
        """Of running and of parked jobs; neither what only waits to be deleted nor what others do."""
        assert accounts.running("auphonic") == 0
        first, op = submitted(ledger)
        second, _ = submitted(ledger)
        noted(ledger, ledger.running(ledger.ready()), new_op(second.job, phase=RemotePhase.STAGED, remote_id="r1"))
        assert (accounts.running("auphonic"), accounts.running("lalal")) == (2, 0)
        park(ledger, first, op)
        assert accounts.running("auphonic") == 2
        ledger.jobs.hear(first.job.job_id, op.enter(RemotePhase.FINISHED))
        assert accounts.running("auphonic") == 1
        ledger.release(second, FailureKind.PERMANENT)
        assert accounts.running("auphonic") == 0

    # ── spend ──

    def test_a_day_has_its_limit(self, accounts: RemoteAccounts) -> None:
        """What would go beyond it is not noted, and is told what was spent; up to the limit all is well."""
        spend = partial(accounts.spend, ACCOUNT, DAY)
        assert spend("one", 6.0, limit=10.0) is None
        assert spend("two", 5.0, limit=10.0) == 6.0
        assert spend("two", 5.0, limit=10.0) == 6.0
        assert spend("three", 4.0, limit=10.0) is None
        assert spend("four", 0.25, limit=10.0) == 10.0

    def test_an_operation_is_paid_once(self, accounts: RemoteAccounts) -> None:
        """The same one again, at the same cost or less, whatever the limit: it was bought already."""
        spend = partial(accounts.spend, ACCOUNT, DAY)
        for amount in (6.0, 6.0, 2.5):
            assert spend("one", amount, limit=10.0) is None
        assert spend("two", 7.5, limit=10.0) is None
        for limit in (10.0, 5.0):
            assert spend("two", 7.5, limit=limit) is None
            assert spend("one", 2.5, limit=limit) is None
        assert spend("one", 2.0, limit=5.0) is None
        assert spend("three", 1.0, limit=10.0) == 9.5

    def test_an_operation_that_gets_dearer_is_held_to_the_limit(self, accounts: RemoteAccounts) -> None:
        """It is refused as a new one is, which leaves what was noted of it; where there is no limit, it is noted."""
        spend = partial(accounts.spend, ACCOUNT, DAY)
        assert spend("one", 2.5, limit=10.0) is None
        assert spend("two", 7.0, limit=10.0) is None
        assert spend("one", 3.0, limit=10.0) is None
        assert spend("one", 3.1, limit=10.0) == 7.0
        assert spend("three", 0.5, limit=10.0) == 10.0
        assert spend("one", 4.5, limit=None) is None
        assert spend("three", 0.5, limit=10.0) == 11.5

    def test_what_was_given_back_is_bought_anew(self, accounts: RemoteAccounts) -> None:
        """Another operation may have had the money since."""
        spend = partial(accounts.spend, ACCOUNT, DAY)
        assert spend("one", 6.0, limit=10.0) is None
        assert spend("one", 0.0, limit=None) is None
        assert spend("two", 6.0, limit=10.0) is None
        assert spend("one", 6.0, limit=10.0) == 6.0
        assert spend("one", 0.0, limit=10.0) is None
        assert spend("one", 4.0, limit=10.0) is None
        assert spend("three", 0.5, limit=10.0) == 10.0

    def test_days_and_accounts_are_counted_apart(self, accounts: RemoteAccounts) -> None:
        """And where there is no limit, all is noted."""
        assert accounts.spend(ACCOUNT, DAY, "one", 10.0, limit=10.0) is None
        for account, day in ((ACCOUNT, "2026-01-02"), ("auphonic:other", DAY), ("auphonic:default2", DAY)):
            assert accounts.spend(account, day, "two", 10.0, limit=10.0) is None
        assert accounts.spend(ACCOUNT, DAY, "three", 5.5, limit=None) is None
        assert accounts.spend(ACCOUNT, DAY, "four", 1.0, limit=16.0) == 15.5

    def test_of_16_that_spend_at_once_as_many_do_as_the_limit_bears(self, accounts: RemoteAccounts) -> None:
        """None is counted by halves."""
        calls: Sequence[Callable[[], float | None]] = [
            partial(accounts.spend, ACCOUNT, DAY, f"t{number}", 1.0, limit=5.0) for number in range(16)
        ]
        assert sorted(answer or 0.0 for answer in at_once(calls)) == [0.0] * 5 + [5.0] * 11

    # ── others ──

    def test_another_process_knows_the_same(self, ledger: Ledger, again: Ledger) -> None:
        """Of the leader, the rate, a hold, a pause and what was spent."""
        here, there = accounts_of(ledger), accounts_of(again)
        assert here.lead(ACCOUNT, "a", HOUR)
        assert not there.lead(ACCOUNT, "b", HOUR)
        assert here.take(ACCOUNT, per_minute=60, burst=2) == 0.0
        assert there.take(ACCOUNT, per_minute=60, burst=2) == 0.0
        assert here.take(ACCOUNT, per_minute=60, burst=2) == pytest.approx(1.0, abs=SLACK)
        there.hold(ACCOUNT, 30)
        assert here.take(ACCOUNT, per_minute=60, burst=2) == pytest.approx(30.0, abs=SLACK)
        here.pause(ACCOUNT, FAULT, HOUR)
        assert list(there.pauses()) == [Pause(account=ACCOUNT, until=ledger.now + HOUR, fault=FAULT)]
        there.resume(ACCOUNT)
        assert list(here.pauses()) == []
        assert here.spend(ACCOUNT, DAY, "one", 3.0, limit=5.0) is None
        assert there.spend(ACCOUNT, DAY, "two", 3.0, limit=5.0) == 3.0
        assert there.spend(ACCOUNT, DAY, "one", 4.0, limit=5.0) is None

    def test_an_unreachable_store_says_so_of_accounts(self, cut_off: Ledger) -> None:
        """By every method: nobody calls a service on a guess."""
        accounts = accounts_of(cut_off)
        calls: dict[str, Callable[[], object]] = {
            "lead": lambda: accounts.lead(ACCOUNT, "a", HOUR),
            "take": lambda: accounts.take(ACCOUNT, per_minute=60, burst=1),
            "hold": lambda: accounts.hold(ACCOUNT, 1),
            "pause": lambda: accounts.pause(ACCOUNT, FAULT, HOUR),
            "pauses": accounts.pauses,
            "resume": lambda: accounts.resume(ACCOUNT),
            "running": lambda: accounts.running("auphonic"),
            "spend": lambda: accounts.spend(ACCOUNT, DAY, "one", 1.0, limit=None),
        }
        silent = [name for name, call in calls.items() if error_of(call, BackendUnavailableError) is None]
        assert silent == []


def accounts_of(ledger: Ledger) -> RemoteAccounts:
    """Return the accounts, or skip the test."""
    return need(ledger.accounts, "Ledger.accounts: it knows nothing of accounts at outside services")


def pauses(accounts: RemoteAccounts) -> list[Pause]:
    """Return the pauses by account."""
    return sorted(accounts.pauses(), key=lambda pause: pause.account)


def let_pass(ledger: Ledger, seconds: float) -> None:
    """Let so much time pass by either clock: a store may have a server that forgets by its own."""
    ledger.clock.advance(seconds)
    time.sleep(seconds)
