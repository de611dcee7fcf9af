"""What a service may echo: no text of ours shows the key."""

import pytest

from musproj.adapters.services.answers import identity, required_id, whole
from musproj.adapters.services.client import ApiClient
from musproj.adapters.services.failures import error_message, scrub
from musproj.adapters.services.hosts import HostRules
from musproj.adapters.services.opening import private_for
from musproj.errors import RemoteHostRefusedError
from musproj.ports.plugin import ServiceContext
from musproj.ports.remote import CallClass, CallError

KEY = "Sentinel\\7F3A"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    """Let a client know the key, and forget it afterwards."""
    monkeypatch.setattr("musproj.adapters.services.failures._HIDDEN", set())
    ApiClient("https://api.example", {"Authorization": f"Bearer {KEY}"}, transport=None)
    return KEY


@pytest.mark.parametrize(
    "text", [f"bad key {KEY}", f"bad key {KEY.lower()}", error_message({"detail": {"key": KEY}}), f"a{KEY}b{KEY}"]
)
def test_an_echoed_key_is_hidden(text):
    assert "7f3a" not in scrub(text).lower()


def test_bearer_is_no_secret():
    assert scrub("Send it as Bearer token") == "Send it as Bearer token"


@pytest.mark.parametrize(
    "value", [None, True, "", " ", {}, [], 1.5, "a?b", "a#b", "../x", "x/..", "a b", "a\nb", "ä", "x" * 513, KEY]
)
def test_what_is_no_id_is_none(value):
    assert identity(value) is None


@pytest.mark.parametrize(("value", "found"), [("abc", "abc"), (12, "12"), ("in/7", "in/7"), ("a-b_c.d", "a-b_c.d")])
def test_what_is_an_id(value, found):
    assert identity(value) == found


@pytest.mark.parametrize(("is_effect", "kind"), [(True, CallClass.AMBIGUOUS), (False, CallClass.TRANSIENT)])
def test_an_answer_without_its_id_leaves_in_doubt_what_may_have_happened(is_effect, kind):
    with pytest.raises(CallError) as caught:
        required_id({"task_id": None}, "task_id", is_effect=is_effect)
    assert caught.value.kind is kind


@pytest.mark.parametrize(("value", "found"), [(7, 7), (0, None), (-1, None), ("7", None), (True, None), (None, None)])
def test_a_number_of_bytes(value, found):
    assert whole(value) == found


def test_a_host_that_none_can_have_is_refused():
    with pytest.raises(RemoteHostRefusedError):
        HostRules(("*.lalal.ai",)).checked("https://xn--lalal-.ai/x")


@pytest.mark.parametrize(
    ("url", "hosts", "allowed"),
    [
        ("https://auphonic.com/api", (), set()),
        ("http://127.0.0.1:8199/api", (), {"127.0.0.1:8199", "localhost:8199"}),
        ("http://127.0.0.1:8199/api", ("minio",), {"127.0.0.1:8199", "localhost:8199", "minio:9000"}),
        ("http://127.0.0.1:7/api", (), set()),
    ],
)
def test_a_service_leads_only_to_its_own_private_places(url, hosts, allowed):
    private = frozenset({"127.0.0.1:8199", "localhost:8199", "minio:9000"})
    context = ServiceContext(name="box", key="", private_hosts=private)

    assert private_for(context, url, hosts) == allowed
