"""Accounts at outside services, in Redis; what is compared and written is one script each."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.job_records import as_json
from musproj.adapters.redis.script import Script
from musproj.codec import from_plain
from musproj.domain.remote import RemoteFault
from musproj.domain.times import from_millis, to_millis
from musproj.ports.remote import LOOKED_AFTER, Pause, RemoteAccounts

_KEEP_SPENT_S = 40 * 86_400

_LEAD = Script(
    """
-- KEYS[1]: the leader.   ARGV: who, ms.
local found = redis.call('GET', KEYS[1])
if found and found ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)

_TAKE = Script(
    """
-- KEYS: when the next call would arrive, us; until when nobody calls, us.   ARGV: us between calls, burst,
-- now in us or ''.
local now = tonumber(ARGV[3])
if not now then local t = redis.call('TIME'); now = t[1] * 1000000 + t[2] end
local arrival = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local early = arrival - (tonumber(ARGV[2]) - 1) * tonumber(ARGV[1])
early = math.max(early, tonumber(redis.call('GET', KEYS[2]) or '0'))
if early > now then return string.format('%.0f', early - now) end
redis.call('SET', KEYS[1], string.format('%.0f', arrival + tonumber(ARGV[1])), 'EX', 86400)
return '0'
"""
)

_HOLD = Script(
    """
-- KEYS[1]: until when nobody calls, us.   ARGV: us from now, now in us or ''.
local now = tonumber(ARGV[2])
if not now then local t = redis.call('TIME'); now = t[1] * 1000000 + t[2] end
local held = math.max(now + tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or '0'))
redis.call('SET', KEYS[1], string.format('%.0f', held), 'EX', math.ceil((held - now) / 1000000) + 1)
return 1
"""
)

_SPEND = Script(
    """
-- KEYS[1]: token -> cost.   ARGV: token, amount, limit or '', seconds.
local before = 0
local costs = redis.call('HGETALL', KEYS[1])
for i = 1, #costs, 2 do if costs[i] ~= ARGV[1] then before = before + tonumber(costs[i + 1]) end end
local known = redis.call('HGET', KEYS[1], ARGV[1])
local more = not known or tonumber(ARGV[2]) > tonumber(known)
if ARGV[3] ~= '' and more and before + tonumber(ARGV[2]) > tonumber(ARGV[3]) then return tostring(before) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return false
"""
)


class RedisAccounts(RemoteAccounts):
    """What all workers of one installation know of the accounts."""

    def __init__(self, backend: RedisBackend) -> None:
        """Use `backend`, which the caller opened and closes."""
        self._backend = backend

    def lead(self, account: str, who: str, life: timedelta) -> bool:
        """Take the place that is free, or one's own."""
        return bool(self._run(_LEAD, [self._backend.keys.leader(account)], who, _ms(life)))

    def take(self, account: str, *, per_minute: float, burst: int) -> float:
        """Compare with when the next call would arrive."""
        keys, between = self._backend.keys, round(60e6 / per_minute)
        wait = self._run(_TAKE, [keys.call_budget(account), keys.call_hold(account)], between, burst, self._now_us())
        return int(wait) / 1e6

    def hold(self, account: str, seconds: float) -> None:
        """Note until when; whatever is left of a burst."""
        self._run(_HOLD, [self._backend.keys.call_hold(account)], round(seconds * 1e6), self._now_us())

    def pause(self, account: str, fault: RemoteFault, life: timedelta) -> None:
        """Keep the reason, and until when."""
        now, _ = self._backend.read_at()
        text = json.dumps({"until": to_millis(now + life), "fault": json.loads(as_json(fault))})
        self._backend.connection.execute([("HSET", self._backend.keys.pauses, account, text)])

    def pauses(self) -> Sequence[Pause]:
        """Leave out those that are over."""
        now, (reply,) = self._backend.read_at(("HGETALL", self._backend.keys.pauses))
        found = [(name.decode(), json.loads(text)) for name, text in zip(reply[::2], reply[1::2], strict=True)]
        pauses = [
            Pause(account=name, until=from_millis(entry["until"]), fault=from_plain(RemoteFault, entry["fault"]))
            for name, entry in sorted(found)
        ]
        return [pause for pause in pauses if pause.until > now]

    def resume(self, account: str) -> None:
        """Drop the reason."""
        self._backend.connection.execute([("HDEL", self._backend.keys.pauses, account)])

    def running(self, service: str) -> int:
        """Count the jobs that are soon to be looked after."""
        now, _ = self._backend.read_at()
        until = to_millis(now + LOOKED_AFTER)
        (found,) = self._backend.read(("ZCOUNT", self._backend.keys.remotes(service), "-inf", until))
        return int(found)

    def spend(self, account: str, day: str, token: str, amount: float, *, limit: float | None) -> float | None:
        """Add up what the day's others cost."""
        key = self._backend.keys.spent(account, day)
        before = self._run(_SPEND, [key], token, repr(amount), "" if limit is None else repr(limit), _KEEP_SPENT_S)
        return None if before is None else float(before)

    def _now_us(self) -> str:
        clock = self._backend.clock
        return "" if clock is None else str(round(clock.now().timestamp() * 1e6))

    def _run(self, script: Script, keys: Sequence[str], *arguments: object) -> Any:
        return self._backend.connection.evaluate(script, keys, [str(argument) for argument in arguments])


def _ms(life: timedelta) -> int:
    return max(1, round(life.total_seconds() * 1000))
