"""The script that every change of a record goes through: checks first, then writes, with nothing in between.

What is checked and written is decided in Python, by the same laws that hold for every store
(`musproj.domain.ledger`), from a record that was read before; the script makes sure that this record is still the
one that was read. So there is one text of the laws. All checks come before the first write; a write that fails
after that (a key of another type, by somebody else's hand) does not take back the ones before it, as Redis has it.
"""

import hashlib

import attrs


@attrs.frozen
class Script:
    """A Lua script and the digest that the server knows it by."""

    text: str
    digest: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Hash the text."""
        object.__setattr__(self, "digest", hashlib.sha1(self.text.encode()).hexdigest())  # noqa: S324 - Redis' own name of a script


APPLY = Script(
    """
-- KEYS: every key that is touched.   ARGV: the plan as JSON {now?, checks, writes}.
-- A command is [name, index into KEYS, argument...]; an argument {now: ms} is the server's time plus ms, one
-- {raw: n} is ARGV[n], bytes that JSON cannot carry.
-- Answers {0, index of the check that failed, what was found, now} or {1, results of NEXT..., now}.
local plan = cjson.decode(ARGV[1])
local time = plan.now
local function now()
  if not time then
    local t = redis.call('TIME')
    time = t[1] * 1000 + math.floor(t[2] / 1000)
  end
  return time
end
local function text(n) return string.format('%.0f', n) end
local function arguments(command)
  local found = {}
  for i = 3, #command do
    local a = command[i]
    if type(a) == 'table' then a = a.raw and ARGV[a.raw] or text(now() + a.now) end
    found[#found + 1] = a
  end
  return unpack(found)
end

local checks = {}
function checks.ROOM(key, command)      -- [ROOM, key, limit, own member, ms]: nor counts one whose time is over or > ms
  redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now()))
  redis.call('ZREMRANGEBYSCORE', key, '(' .. text(now() + command[5]), '+inf')
  local others = redis.call('ZCARD', key) - (redis.call('ZSCORE', key, command[4]) and 1 or 0)
  return others < tonumber(command[3]), ''
end
function checks.IS(key, command)        -- [IS, key, field or '', expected or null]
  local found
  if command[3] == '' then found = redis.call('GET', key) else found = redis.call('HGET', key, command[3]) end
  local expected = command[4]
  if expected == cjson.null or expected == nil then return not found, found end
  return found == expected, found
end
function checks.THERE(key, command)     -- [THERE, key, 0 or 1]
  local found = redis.call('EXISTS', key)
  return found == tonumber(command[3]), text(found)
end
function checks.SCORE(key, command)     -- [SCORE, key, member, score]
  local found = redis.call('ZSCORE', key, command[3])
  return found and tonumber(found) == tonumber(command[4]), found
end

local results = {}
local writes = {}
function writes.NEXT(key, command)      -- [NEXT, asset, above, job index]: the next version number, for the job
  local n = math.max(tonumber(redis.call('HGET', key, 'seq') or '1'), tonumber(command[3])) + 1
  redis.call('HSET', key, 'seq', text(n))
  redis.call('HSET', KEYS[command[4]], 'reservedVersion', text(n))
  results[#results + 1] = n
end
function writes.MAX(key, command)       -- [MAX, key, n]
  if tonumber(redis.call('GET', key) or '0') < tonumber(command[3]) then redis.call('SET', key, command[3]) end
end
function writes.HEAD(key, command)      -- [HEAD, asset, n]: forward only, and not where a hand has pinned it
  local f = redis.call('HMGET', key, 'head', 'headPinned')
  if not f[2] and tonumber(f[1] or '0') < tonumber(command[3]) then redis.call('HSET', key, 'head', command[3]) end
end
function writes.PASS(key, command)      -- [PASS, waiting, queue index, delivered index]: the first that waits comes
  local first = redis.call('ZPOPMIN', key)
  if not first[1] then return end
  redis.call('LPUSH', KEYS[command[3]], first[1])
  redis.call('ZADD', KEYS[command[4]], 'XX', text(now() + 15000), string.match(first[1], '^(.*)%-[^-]*$'))
end
function writes.HANDON(key, command)    -- [HANDON, waiting, queue index, delivered index, job's slots index, member]
  if redis.call('ZREM', KEYS[command[5]], command[6]) == 1 then writes.PASS(key, command) end
end
function writes.URGENT(key, command)    -- [URGENT, queue, index of the last urgent one, delivery]: behind that one
  local last = redis.call('GET', KEYS[command[3]])
  if last and redis.call('LPOS', key, last, 'MAXLEN', 1000) then
    redis.call('LINSERT', key, 'AFTER', last, command[4])
  else
    redis.call('LPUSH', key, command[4])
  end
  redis.call('SET', KEYS[command[3]], command[4])
end
function writes.UNPARK(key, command)    -- [UNPARK, parked, index of the taken ones, member, delivery]: if nobody else did
  local n = redis.call('ZREM', key, command[4])
  if n == 1 then redis.call('RPUSH', KEYS[command[3]], command[5]) end
  results[#results + 1] = n
end
function writes.ACK(key, command)       -- [ACK, taken, index of the entry, delivery]: what is in other hands stays there
  if redis.call('LREM', key, 1, command[4]) > 0 then redis.call('DEL', KEYS[command[3]]) end
end
function writes.LATER(key, command)     -- [LATER, key, text, ms]: unless a text that sorts behind it is there
  if (redis.call('GET', key) or '') < command[3] then redis.call('SET', key, command[3], 'PX', command[4]) end
end
function writes.ATTACH(key, command)    -- [ATTACH, attachments, field, JSON, object key, index of gc's set, prefix, due]
  local before = redis.call('HGET', key, command[3])
  redis.call('HSET', key, command[3], command[4])
  if before and not string.find(before, '"object_key":"' .. command[5] .. '"', 1, true) then
    redis.call('ZADD', KEYS[command[6]], command[8], command[7])
  end
end
local function write(command)
  local own = writes[command[1]]
  if own then own(KEYS[command[2]], command) else redis.call(command[1], KEYS[command[2]], arguments(command)) end
end

for i, check in ipairs(plan.checks) do
  local holds, found = checks[check[1]](KEYS[check[2]], check)
  if not holds then
    for _, command in ipairs((plan.otherwise or {})[i] or {}) do write(command) end
    return {0, i - 1, found or '', text(now())}
  end
end
for _, command in ipairs(plan.writes) do write(command) end
results[#results + 1] = text(now())
return {1, unpack(results)}
"""
)
