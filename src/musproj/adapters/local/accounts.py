"""Accounts at outside services, in a `LocalDatabase`."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import timedelta

from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.table import as_json
from musproj.codec import from_plain
from musproj.domain.remote import RemoteFault
from musproj.domain.times import from_millis, to_millis
from musproj.ports.clock import Clock
from musproj.ports.remote import LOOKED_AFTER, Pause, RemoteAccounts, next_call

_KEEP_SPENT = timedelta(days=40)


class LocalAccounts(RemoteAccounts):
    """What all workers of one database know of the accounts."""

    def __init__(self, database: LocalDatabase, clock: Clock) -> None:
        """Use `database`, which the caller opened and closes."""
        self._database = database
        self._clock = clock

    def lead(self, account: str, who: str, life: timedelta) -> bool:
        """Take the place that is free, or one's own."""

        def decide(connection: sqlite3.Connection) -> bool:
            now = self._clock.now()
            row = _row(connection, account, "leader")
            if row is not None and row[0] != who and row[1] > to_millis(now):
                return False
            _put(connection, account, "leader", who, to_millis(now + life))
            return True

        return self._database.write(decide, wakes=False)

    def take(self, account: str, *, per_minute: float, burst: int) -> float:
        """Compare with when the next call would arrive."""

        def decide(connection: sqlite3.Connection) -> float:
            now = self._clock.now().timestamp()
            held = _seconds(connection, account, "held") - now
            arrival = _seconds(connection, account, "budget")
            wait, arrival = next_call(now, arrival, per_minute=per_minute, burst=burst)
            if wait <= 0 and held <= 0:
                _put(connection, account, "budget", repr(arrival), 0)
            return max(wait, held, 0.0)

        return self._database.write(decide, wakes=False)

    def hold(self, account: str, seconds: float) -> None:
        """Note until when; whatever is left of a burst."""

        def put(connection: sqlite3.Connection) -> None:
            until = max(self._clock.now().timestamp() + seconds, _seconds(connection, account, "held"))
            _put(connection, account, "held", repr(until), 0)

        self._database.write(put, wakes=False)

    def pause(self, account: str, fault: RemoteFault, life: timedelta) -> None:
        """Keep the reason."""
        until = to_millis(self._clock.now() + life)
        self._database.write(lambda connection: _put(connection, account, "pause", as_json(fault), until), wakes=False)

    def pauses(self) -> Sequence[Pause]:
        """Leave out those that are over."""
        now = to_millis(self._clock.now())
        sql = "SELECT account, value, until FROM account WHERE name = 'pause' AND until > ? ORDER BY account"
        found = self._database.read(lambda connection: connection.execute(sql, (now,)).fetchall())
        return [
            Pause(account=account, fault=from_plain(RemoteFault, json.loads(value)), until=from_millis(until))
            for account, value, until in found
        ]

    def resume(self, account: str) -> None:
        """Drop the reason."""
        sql = "DELETE FROM account WHERE account = ? AND name = 'pause'"
        self._database.write(lambda connection: connection.execute(sql, (account,)), wakes=False)

    def running(self, service: str) -> int:
        """Count the jobs that are soon to be looked after."""
        until = to_millis(self._clock.now() + LOOKED_AFTER)
        sql = "SELECT count(*) FROM remote WHERE service = ? AND due <= ?"
        found: int = self._database.read(lambda connection: connection.execute(sql, (service, until)).fetchone()[0])
        return found

    def spend(self, account: str, day: str, token: str, amount: float, *, limit: float | None) -> float | None:
        """Add up what the day's others cost."""

        def decide(connection: sqlite3.Connection) -> float | None:
            name = f"spent:{day}:{token}"
            before = connection.execute(
                """
                SELECT total(value) FROM account
                WHERE account = ? AND name >= ? AND name < ? AND name <> ?
                """,
                (account, f"spent:{day}:", f"spent:{day};", name),
            ).fetchone()[0]
            known = _row(connection, account, name)
            is_more = known is None or amount > float(known[0])
            if limit is not None and is_more and before + amount > limit:
                return float(before)
            now = self._clock.now()
            _put(connection, account, name, repr(amount), to_millis(now + _KEEP_SPENT))
            connection.execute(
                "DELETE FROM account WHERE account = ? AND name LIKE 'spent:%' AND until < ?", (account, to_millis(now))
            )
            return None

        return self._database.write(decide, wakes=False)


def _row(connection: sqlite3.Connection, account: str, name: str) -> tuple[str, int] | None:
    sql = "SELECT value, until FROM account WHERE account = ? AND name = ?"
    row: tuple[str, int] | None = connection.execute(sql, (account, name)).fetchone()
    return row


def _seconds(connection: sqlite3.Connection, account: str, name: str) -> float:
    row = _row(connection, account, name)
    return float(row[0]) if row else 0.0


def _put(connection: sqlite3.Connection, account: str, name: str, value: str, until: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO account(account, name, value, until) VALUES(?, ?, ?, ?)", (account, name, value, until)
    )
