"""The keys of services from the settings, and the numbers and addresses that their use goes by."""

import logging
import re
from datetime import UTC, datetime, timedelta

import attrs
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musproj import MusProj, Settings
from musproj.adapters.memory import MemoryStorage
from musproj.application.http_profile import read_profile
from musproj.application.remote_policy import RemotePolicy
from musproj.domain.keys import ObjectKey
from musproj.domain.remote import Cost, RemoteOp
from musproj.errors import ConfigurationError, CorruptRecordError, UnknownPluginError
from musproj.ports.plugin import OpenedMetadata, OpenedStorage
from musproj.ports.remote import MOST_CALLS_PER_MINUTE, MOST_SPENT, Caps
from musproj.ports.storage import SignedRequest, SignedUrls
from musproj.services import ConfiguredServices, keys_of, outside_of, pairs, policy_of, read_key
from musproj.testing.clock import FakeClock
from musproj.worker.line import AskAccount, account_arguments

KEY = "key-that-nobody-may-see"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LOCAL = "127.0.0.1:8099"


@pytest.fixture
def key_file(tmp_path):
    """Give a function that writes a key file."""

    def write(content=f"{KEY}\n", mode=0o600):
        path = tmp_path / "key"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def services():
    """Give a function that makes the services of some settings, and closes them."""
    opened = []

    def make(**settings):
        opened.append(ConfiguredServices(Settings(**settings)))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_key_there_is_no_service(services):
    none = services()

    assert (none.names(), none.configured()) == (frozenset(), frozenset())
    with pytest.raises(ConfigurationError, match="lalal has no key here") as caught:
        none.open("lalal")
    assert caught.value.hint == "Set MUSPROJ_LALAL_KEY."


def test_each_setting_of_a_key_makes_its_service():
    settings = Settings(auphonic_key="a", lalal_key="file:/l", service_keys=("box=b", "other=file:/o"))
    assert keys_of(settings) == {"auphonic": "a", "lalal": "file:/l", "box": "b", "other": "file:/o"}


def test_a_key_is_itself_or_what_its_file_holds(key_file):
    assert read_key("lalal", KEY) == KEY
    assert read_key("lalal", f"file:{key_file()}") == KEY
    spacious = key_file(f"  {KEY}  \r\n\n")
    assert read_key("lalal", f"file:{spacious}") == KEY


def test_a_file_of_the_home_is_written_with_a_tilde(key_file, monkeypatch):
    monkeypatch.setenv("HOME", str(key_file().parent))
    assert read_key("lalal", "file:~/key") == KEY


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o610, 0o777])
def test_a_file_that_others_can_read_is_refused(key_file, mode):
    path = key_file(mode=mode)

    with pytest.raises(ConfigurationError, match="Others can read the key of lalal") as caught:
        read_key("lalal", f"file:{path}")
    assert caught.value.hint == f"chmod 600 {path}"
    path.chmod(0o400)
    assert read_key("lalal", f"file:{path}") == KEY


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "There is no key of lalal"),
        (" \n\t\n", "There is no key of lalal"),
        ("two words", "characters that no key has"),
        ("two\nlines", "characters that no key has"),
        ("schlüssel", "characters that no key has"),
        ("bell\x07", "characters that no key has"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_file_without_a_key_is_refused_and_not_quoted(key_file, content, words):
    path = key_file(content)

    with pytest.raises(ConfigurationError, match=words) as caught:
        read_key("lalal", f"file:{path}")
    assert "schlüssel" not in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=re.escape(f"cannot be read from {tmp_path}/none")) as caught:
        read_key("lalal", f"file:{tmp_path}/none")
    assert caught.value.hint
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_key("lalal", f"file:{tmp_path}")


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r\nX-Header: 1", f"{KEY} ", "schlüssel", "\x00"])
def test_a_key_that_no_header_takes_is_refused_and_not_quoted(key):
    with pytest.raises(ConfigurationError, match="characters that no key has") as caught:
        read_key("lalal", key)
    assert KEY not in f"{caught.value.message} {caught.value.hint}"


def test_a_key_that_cannot_be_read_is_configured_but_no_ability(services, key_file, caplog):
    some = services(auphonic_key=f"file:{key_file(mode=0o644)}", lalal_key=KEY)

    with caplog.at_level(logging.ERROR):
        assert some.names() == {"lalal"}
    assert some.configured() == {"auphonic", "lalal"}
    assert [(record.service, record.action) for record in caplog.records] == [("auphonic", "key_unreadable")]
    with pytest.raises(ConfigurationError, match="Others can read"):
        some.open("auphonic")
    assert some.open("lalal").name == "lalal"


def test_a_key_of_a_service_that_nobody_knows_is_told_when_it_is_opened(services):
    with pytest.raises(UnknownPluginError, match="lalai"):
        services(service_keys=("lalai=k",)).open("lalai")


def test_a_service_is_opened_once_and_closed_with_the_rest(services):
    some = services(lalal_key=KEY)
    first = some.open("lalal")

    assert some.open("lalal") is first
    some.close()
    assert some.open("lalal") is not first


BOX = """
name = "box"
version = "1"
base_url = "https://box.example/api"
{key}
[submit]
path = "/jobs"
json = {{input = "{{input_url}}"}}
id_pointer = "/id"
[poll]
path = "/jobs/{{id}}"
state_pointer = "/state"
states = {{done = "finished", wrong = "failed"}}
[result]
urls_pointer = "/url"
[outputs.made]
"""


@pytest.fixture
def box(tmp_path):
    """Give a function that reads the profile of a service, with the lines of its key."""

    def read(key=""):
        path = tmp_path / "box.toml"
        path.write_text(BOX.format(key=key))
        return read_profile(path)

    return read


def test_a_service_of_a_profile_needs_no_key(box):
    some = ConfiguredServices(Settings(), [box()])

    assert some.names() == some.configured() == {"box"}
    assert some.open("box").name == "box"
    some.close()


def test_the_key_of_a_profile_is_in_its_file_unless_a_setting_has_one(box, key_file):
    profile = box(f'[key]\nfile = "{key_file(mode=0o644)}"')

    assert ConfiguredServices(Settings(), [profile]).names() == frozenset()
    assert ConfiguredServices(Settings(service_keys=(f"box={KEY}",)), [profile]).names() == {"box"}
    key_file()
    assert ConfiguredServices(Settings(), [profile]).names() == {"box"}


# ── addresses ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["auphonic", "lalal"])
def test_a_key_goes_over_plain_http_to_a_private_host_only(services, name):
    settings = {f"{name}_key": KEY, f"{name}_url": f"http://{LOCAL}/api"}

    with pytest.raises(ConfigurationError, match=f"address of {name}, http://{LOCAL}, is not https") as caught:
        services(**settings).open(name)
    assert caught.value.hint == f"A host of your own is allowed by MUSPROJ_PRIVATE_HOSTS={LOCAL}."
    assert services(**settings, private_hosts=(LOCAL,)).open(name).name == name


@pytest.mark.parametrize(
    ("url", "private"),
    [
        (f"http://{LOCAL}/api", "127.0.0.1:8098"),
        (f"http://{LOCAL}/api", "127.0.0.1"),
        ("http://auphonic.com/api", "auphonic.com"),
        ("http://auphonic.com/api", "auphonic.com:443"),
    ],
)
def test_another_port_or_none_is_another_host(services, url, private):
    with pytest.raises(ConfigurationError, match="is not https"):
        services(auphonic_key=KEY, auphonic_url=url, private_hosts=(private,)).open("auphonic")


def test_port_80_is_the_one_that_http_means(services):
    services(auphonic_key=KEY, auphonic_url="http://box/api", private_hosts=("box:80",)).open("auphonic")


def test_another_address_by_https_needs_no_permission(services):
    services(auphonic_key=KEY, auphonic_url="https://gateway.example/auphonic").open("auphonic")


@pytest.mark.parametrize(("mode", "takes_urls"), [("auto", True), ("url", True), ("upload", False)])
def test_a_setting_tells_whether_auphonic_gets_addresses(services, mode, takes_urls):
    auphonic = services(auphonic_key=KEY, service_input=mode, service_prefix="studio").open("auphonic")

    assert auphonic.caps.takes_urls is takes_urls
    assert auphonic.prefix == "studio"


# ── lists of pairs ───────────────────────────────────────────────────────────────────────────────


def test_pairs_are_names_and_values():
    assert pairs(("a=1", " b = 2 ", "c=x=y"), "engines") == {"a": "1", "b": "2", "c": "x=y"}
    assert pairs((), "engines") == {}


@pytest.mark.parametrize("entry", ["lalal", "lalal=", "=30", " = ", "", KEY])
def test_a_pair_that_is_none_is_told_by_its_setting_and_not_quoted(entry):
    with pytest.raises(ConfigurationError, match="MUSPROJ_SERVICE_KEYS is wrong") as caught:
        keys_of(Settings(service_keys=("box=k", entry)))
    assert caught.value.facts["setting"] == "service_keys"
    assert KEY not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("setting", ["budget_per_job", "budget_per_day"])
@pytest.mark.parametrize(("entry", "words"), [("lalal=much", "holds no number"), ("lalal", "is wrong")])
def test_a_budget_that_is_no_number_is_told_by_its_setting(setting, entry, words):
    with pytest.raises(ConfigurationError, match=f"MUSPROJ_{setting.upper()} {words}") as caught:
        policy_of(Settings(**{setting: (entry,)}))
    assert caught.value.facts["setting"] == setting


@pytest.mark.parametrize("setting", ["budget_per_job", "budget_per_day"])
@pytest.mark.parametrize("amount", ["-1", "nan", "inf", "1000000001", "1e999"])
def test_a_budget_has_bounds(setting, amount):
    with pytest.raises(ConfigurationError, match=f"MUSPROJ_{setting.upper()} .* from 0 to 1000000000"):
        policy_of(Settings(**{setting: (f"lalal={amount}",)}))


@pytest.mark.parametrize(
    ("method", "name", "most"),
    [
        ("take", "per_minute", MOST_CALLS_PER_MINUTE),
        ("take", "burst", MOST_CALLS_PER_MINUTE),
        ("spend", "limit", MOST_SPENT),
        ("spend", "amount", MOST_SPENT),
    ],
)
def test_what_may_be_configured_may_be_asked_by_a_run(method, name, most):
    """Else its process would be ended for it."""
    whole = {
        "take": {"account": "box:default", "per_minute": 1, "burst": 1},
        "spend": {"account": "box:default", "day": "2026-01-01", "token": "t", "amount": 1.0, "limit": 1.0},
    }[method]

    assert account_arguments(AskAccount(method, whole | {name: most}))
    with pytest.raises(CorruptRecordError):
        account_arguments(AskAccount(method, whole | {name: most + 1}))


def test_budgets_are_told_by_service():
    policy = policy_of(Settings(budget_per_job=("lalal=30",), budget_per_day=("lalal=90.5", "auphonic=2.5")))

    assert policy.per_job == {"lalal": 30.0}
    assert policy.per_day == {"lalal": 90.5, "auphonic": 2.5}


@pytest.mark.parametrize("setting", ["engines", "budget_per_job", "service_keys"])
def test_nothing_is_opened_with_a_list_that_cannot_be_read(tmp_path, setting):
    settings = Settings(data=tmp_path, metadata="memory:", queue="memory:", **{setting: ("odd",)})
    with pytest.raises(ConfigurationError, match=f"MUSPROJ_{setting.upper()}"):
        MusProj.open(settings)


# ── patience ─────────────────────────────────────────────────────────────────────────────────────

PLAIN, HINTED = Caps(), Caps(sends_hints=True)
HOOKS = RemotePolicy(hook_base="https://api.example", hook_secret="s")


def about(moment, seconds):
    """Tell whether a moment is so many seconds after noon, a fifth more or less."""
    return seconds * 0.8 <= (moment - NOON).total_seconds() <= seconds * 1.2


@pytest.mark.parametrize(
    ("duration", "seconds"), [(None, 3), (0.0, 3), (10.0, 3), (60.0, 6), (150.0, 15), (36_000.0, 15)]
)
def test_the_first_question_waits_for_the_length_of_the_input(duration, seconds):
    assert about(RemotePolicy().first_poll(NOON, duration, PLAIN), seconds)


@pytest.mark.parametrize(("waited", "seconds"), [(0, 3), (4, 3), (10, 5), (40, 20), (60, 30), (86_400, 30)])
def test_the_next_question_waits_for_half_of_what_was_waited(waited, seconds):
    op = RemoteOp(
        service="s", account="a", token="t", request_digest="d", cost=Cost(unit="u", estimate=0),
        submitted_at=NOON - timedelta(seconds=waited),
    )  # fmt: skip
    assert about(RemotePolicy().next_poll(op, NOON, PLAIN), seconds)
    assert about(RemotePolicy().next_poll(attrs.evolve(op, submitted_at=None), NOON, PLAIN), 3)
    assert about(HOOKS.next_poll(op, NOON, HINTED), 120)


@pytest.mark.parametrize(
    ("crowd", "batch", "seconds"),
    [(1, 1, 3), (2, 1, 3), (11, 1, 20), (61, 1, 120), (61, 100, 3), (1_000, 100, 18), (1_001, 100, 20)],
)
def test_a_crowd_takes_half_of_the_calls_at_most(crowd, batch, seconds):
    op = RemoteOp(service="s", account="a", token="t", request_digest="d", cost=Cost(unit="u", estimate=0))
    caps = Caps(calls_per_minute=60.0, poll_batch=batch)
    assert about(RemotePolicy().next_poll(op, NOON, caps, crowd=crowd), seconds)


@pytest.mark.parametrize(
    ("policy", "caps", "is_called"),
    [
        (HOOKS, HINTED, True),
        (HOOKS, PLAIN, False),
        (attrs.evolve(HOOKS, hook_secret=""), HINTED, False),
        (attrs.evolve(HOOKS, hook_base=None), HINTED, False),
    ],
)
def test_a_service_that_calls_us_is_asked_seldom(policy, caps, is_called):
    assert policy.has_hook(caps) is is_called
    assert about(policy.first_poll(NOON, 10.0, caps), 120 if is_called else 3)


@pytest.mark.parametrize(
    ("duration", "life", "hours"),
    [
        (0.0, None, 2 + 10 / 60),
        (600.0, None, 2 + 40 / 60),
        (None, None, 2 + 10 / 60 + 3),
        (36_000.0, None, 2 + 10 / 60 + 30),
        (36_000.0, timedelta(hours=24), 24),
        (0.0, timedelta(hours=24), 2 + 10 / 60),
        (0.0, timedelta(hours=1), 1),
    ],
)
def test_the_deadline_is_the_queue_and_three_times_the_input_but_never_beyond_what_the_service_keeps(
    duration, life, hours
):
    deadline = RemotePolicy().deadline(NOON, duration, Caps(task_life=life))
    assert (deadline - NOON).total_seconds() == pytest.approx(hours * 3_600)


@given(tries=st.integers(0, 10_000), base=st.floats(0.001, 60), longest=st.floats(0.001, 3_600))
def test_pauses_grow_up_to_a_limit_and_are_never_none(tries, base, longest):
    policy = RemotePolicy(backoff_s=base, longest_backoff_s=longest)
    full = min(longest, base * 2 ** min(tries, 16))

    seconds = policy.backoff(tries).total_seconds()
    assert 0.2 * full - 1e-6 <= seconds <= full + 1e-6


@given(poll=st.floats(0.01, 600))
def test_the_setting_is_the_shortest_time_between_two_questions(poll):
    policy = policy_of(Settings(remote_poll_s=poll))

    assert policy.first_poll_s == poll
    assert policy.backoff_s == min(1.0, poll)
    assert (policy.first_poll(NOON, 0.0, PLAIN) - NOON).total_seconds() >= 0.8 * poll - 1e-6


def test_webhooks_need_an_address_and_a_secret():
    policy = policy_of(Settings(public_url="https://api.example/base/", webhook_secret=KEY))

    assert (policy.hook_base, policy.hook_secret) == ("https://api.example/base", KEY)
    assert KEY not in repr(policy)
    assert policy_of(Settings(webhook_secret=KEY)).hook_base is None


# ── signed addresses ─────────────────────────────────────────────────────────────────────────────

OBJECT = ObjectKey("assets/ast_1/v1/source.flac")


@attrs.frozen
class FakeSignedUrls(SignedUrls):
    """Signs for one host, and tells in the address what it was asked for."""

    origin: str
    needs_size: bool = False
    max_put_bytes: int | None = None

    def sign_put(self, key, *, content_type, size, sha256, expires_in):
        raise NotImplementedError

    def sign_get(self, key, *, filename, content_type, expires_in, inline=False):
        url = f"{self.origin}/{key}?as={filename}&type={content_type}"
        return SignedRequest(method="GET", url=url, headers={}, expires_at=NOON + expires_in)


def signed(origin, **settings):
    clock = FakeClock()
    storage = OpenedStorage(storage=MemoryStorage(clock), signed_urls=FakeSignedUrls(origin) if origin else None)
    metadata = OpenedMetadata(assets=None, jobs=None, close=lambda: None, accounts=object())
    outside = outside_of(Settings(**settings), ConfiguredServices(Settings()), storage, metadata)
    return outside.signed_url(OBJECT)


@pytest.mark.parametrize(
    ("origin", "is_reachable"),
    [
        ("https://account.r2.cloudflarestorage.com", True),
        ("https://account.r2.cloudflarestorage.com:9000", True),
        ("https://8.8.8.8", True),
        ("http://account.r2.cloudflarestorage.com", False),
        ("http://127.0.0.1:8700", False),
        ("https://127.0.0.1:8700", False),
        ("https://10.1.2.3", False),
        ("https://192.168.0.5", False),
        ("https://169.254.169.254", False),
        ("https://100.64.0.1", False),
        ("https://[::1]:8700", False),
        ("https://[fd00::1]", False),
        ("https://localhost", False),
        ("https://minio", False),
        ("https://studio.local", False),
        ("https://minio.internal", False),
        ("https://a.localhost", False),
        ("file:///srv", False),
    ],
)
def test_an_address_is_given_where_the_world_can_reach_it(origin, is_reachable):
    url = signed(origin)

    assert (url is not None) is is_reachable
    assert signed(origin, service_input="url") == f"{origin}/{OBJECT}?as=source.flac&type=audio/flac"


def test_a_storage_that_signs_nothing_gives_no_address():
    assert signed(None) is None
    assert signed(None, service_input="url") is None


def test_an_installation_without_accounts_has_nothing_done_elsewhere():
    metadata = OpenedMetadata(assets=None, jobs=None, close=lambda: None)
    assert outside_of(Settings(), ConfiguredServices(Settings()), OpenedStorage(storage=None), metadata) is None


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────


def test_no_key_is_shown(services, caplog, tmp_path):
    names = ("auphonic_key", "lalal_key", "webhook_secret")
    given = dict.fromkeys(names, KEY) | {"service_keys": (f"box={KEY}",)}
    settings = Settings(data=tmp_path, metadata="memory:", queue="memory:", **given)
    some = services(**given)
    adapters = [some.open(name) for name in ("auphonic", "lalal")]
    parts = [part for adapter in adapters for part in (adapter, adapter.api, adapter.fetcher, adapter.transport)]

    with caplog.at_level(logging.DEBUG), MusProj.open(settings) as mp:
        shown = [settings, some, *parts, mp, mp.outside, mp.services, mp.catalog]
        text = " ".join(map(repr, shown)) + " ".join(map(str, shown))
    assert KEY not in text
    assert KEY not in caplog.text


def test_no_key_is_shown_by_a_call_that_fails(services):
    lalal = services(lalal_key=KEY).open("lalal")

    def refuse(request):
        return httpx.Response(403, json={"detail": f"Unknown key {KEY}"}, headers={"x-request-id": KEY})

    lalal.api._transport = httpx.MockTransport(refuse)
    with pytest.raises(Exception, match="403") as caught:
        lalal.balance()
    assert KEY not in f"{caught.value} {caught.value!r}"
