"""Signed URLs without a server: what is signed, for how long, and by which key."""

import base64
import io
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from musproj.adapters.local.gate import LocalGate
from musproj.adapters.local.signing import LocalSigner, SigningKeys, load_or_create_signing_key, rotate_signing_key
from musproj.adapters.local.storage import LocalStorage
from musproj.domain.keys import ObjectKey
from musproj.errors import BackendUnavailableError, ConfigurationError, InvalidError
from musproj.ports.gate import GateRefusedError
from musproj.testing.clock import NOON, FakeClock

KEY = ObjectKey("assets/ast_1/v1/source.wav")
HOUR = timedelta(hours=1)
SHA = "ab" * 32
KEYS = SigningKeys(b"k" * 32)
URL = "https://api.example/base/"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def signer(clock: FakeClock) -> LocalSigner:
    return LocalSigner(KEYS, URL, clock, 1000)


@pytest.fixture
def gate(tmp_path: Path, signer: LocalSigner, clock: FakeClock) -> Iterator[LocalGate]:
    storage = LocalStorage(tmp_path)
    storage.put(KEY, io.BytesIO(b"content"), size=7, content_type="audio/wav")
    yield LocalGate(storage, signer, clock, 1000)
    storage.close()


def query_of(url: str) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def sign_put(signer: LocalSigner, **changes):
    asked = {"content_type": "audio/wav", "size": 7, "sha256": SHA, "expires_in": HOUR} | changes
    return signer.sign_put(KEY, **asked)


def sign_get(signer: LocalSigner, **changes):
    asked = {"filename": "take.wav", "content_type": "audio/wav", "expires_in": HOUR} | changes
    return signer.sign_get(KEY, **asked)


# ── what a URL says ──


def test_a_put_says_what_must_be_sent(signer: LocalSigner) -> None:
    signed = sign_put(signer)
    assert signed.method == "PUT"
    assert signed.headers == {
        "content-type": "audio/wav",
        "content-length": "7",
        "if-none-match": "*",
        "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(SHA)).decode(),
    }
    assert signed.url.startswith(f"https://api.example/base/_store/{KEY}?op=put&exp=")
    query = query_of(signed.url)
    assert query.pop("sig")
    assert query.pop("kid")
    exp = str(int((NOON + HOUR).timestamp() * 1000))
    assert query == {"op": "put", "exp": exp, "len": "7", "ct": "audio/wav", "sha": SHA, "inm": "1"}


def test_what_is_not_known_is_not_signed(signer: LocalSigner) -> None:
    signed = sign_put(signer, size=None, sha256=None)
    assert signed.headers == {"content-type": "audio/wav", "if-none-match": "*"}
    assert not query_of(signed.url).keys() & {"len", "sha"}


def test_the_powers_of_the_store_are_told(signer: LocalSigner) -> None:
    assert (signer.needs_size, signer.max_put_bytes) == (False, 1000)


@pytest.mark.parametrize(
    ("asked", "given_"),
    [
        (timedelta(0), timedelta(seconds=1)),
        (timedelta(days=-3), timedelta(seconds=1)),
        (timedelta(seconds=1.5), timedelta(seconds=1.5)),
        (timedelta(days=7), timedelta(days=7)),
        (timedelta(days=400), timedelta(days=7)),
    ],
)
def test_a_life_lies_between_a_second_and_a_week(signer: LocalSigner, asked: timedelta, given_: timedelta) -> None:
    signed = sign_get(signer, expires_in=asked)
    assert signed.expires_at == NOON + given_
    assert query_of(signed.url)["exp"] == str(int(signed.expires_at.timestamp() * 1000))


def test_a_url_is_no_secret_in_a_repr(signer: LocalSigner) -> None:
    assert query_of(sign_get(signer).url)["sig"] not in repr(sign_get(signer))
    assert "kkkk" not in repr(KEYS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"content_type": "audio/wav\r\nx: y"},
        {"content_type": ""},
        {"content_type": " audio/wav"},
        {"content_type": "ä/b"},
        {"content_type": "a" * 300},
        {"sha256": "AB" * 32},
        {"sha256": "ab"},
    ],
)
def test_what_cannot_be_a_header_is_not_signed(signer: LocalSigner, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidError):
        sign_put(signer, **wrong)


def test_what_is_no_key_is_not_signed(signer: LocalSigner) -> None:
    with pytest.raises(InvalidError):
        signer.sign_get(ObjectKey("../x"), filename="x", content_type="audio/wav", expires_in=HOUR)


# ── what a gate makes of it ──


def test_an_expired_url_is_told_as_such(gate: LocalGate, signer: LocalSigner, clock: FakeClock) -> None:
    query = query_of(sign_get(signer).url)
    clock.advance(HOUR - timedelta(milliseconds=1))
    gate.open_get("GET", KEY, query)
    clock.advance(timedelta(milliseconds=1))
    with pytest.raises(GateRefusedError, match="Request has expired") as caught:
        gate.open_get("GET", KEY, query)
    assert (caught.value.status, caught.value.code) == (403, "AccessDenied")


@given(position=st.integers(0), byte=st.characters(codec="latin-1"))
@example(position=3, byte="P")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_other_byte_in_a_query_is_refused(gate: LocalGate, signer: LocalSigner, position: int, byte: str) -> None:
    for signed in (sign_get(signer, inline=True, filename="täke 1.wav"), sign_put(signer)):
        query = urlsplit(signed.url).query
        place = position % len(query)
        pairs = parse_qsl(f"{query[:place]}{byte}{query[place + 1 :]}", keep_blank_values=True)
        altered = dict(pairs)
        if altered == query_of(signed.url):
            continue  # another spelling of the same: %c3 for %C3, or the same byte
        with pytest.raises(GateRefusedError) as caught:
            open_by(gate, signed.method, KEY, altered, signed.headers)
        assert (caught.value.status, caught.value.code) == (403, "SignatureDoesNotMatch")


FIELDS = ("op", "exp", "len", "ct", "sha", "inm", "fn", "inl", "kid", "sig", "more")


@given(
    st.dictionaries(
        st.sampled_from(FIELDS), st.one_of(st.text(max_size=8), st.sampled_from(["put", "get", "1", "\n", "7\n"]))
    ),
    st.sets(st.sampled_from(FIELDS)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_other_set_of_fields_is_refused(
    gate: LocalGate, signer: LocalSigner, changed: dict[str, str], dropped: set[str]
) -> None:
    for signed in (sign_get(signer), sign_put(signer)):
        query = query_of(signed.url)
        altered = {name: value for name, value in (query | changed).items() if name not in dropped}
        if altered != query:
            with pytest.raises(GateRefusedError, match="signature"):
                open_by(gate, signed.method, KEY, altered, signed.headers)


def test_a_value_cannot_move_into_its_neighbour(gate: LocalGate, signer: LocalSigner) -> None:
    """As it could if the fields were signed one after the other without bounds."""
    query = query_of(sign_get(signer, filename="1", inline=True).url)
    for altered in (query | {"fn": "1\n1", "inl": ""}, query | {"fn": "11", "inl": ""}, query | {"fn": "1\n"}):
        with pytest.raises(GateRefusedError, match="signature"):
            gate.open_get("GET", KEY, {name: value for name, value in altered.items() if value})


def test_a_url_is_for_its_method_and_key_alone(gate: LocalGate, signer: LocalSigner) -> None:
    get, put = sign_get(signer), sign_put(signer)
    for method, key, signed in [
        ("GET", KEY, put),
        ("PUT", KEY, get),
        ("POST", KEY, get),
        ("DELETE", KEY, get),
        ("GET", KEY + "x", get),
        ("GET", KEY[:-1], get),
        ("GET", KEY + "\n", get),
    ]:
        with pytest.raises(GateRefusedError, match="signature"):
            open_by(gate, method, ObjectKey(key), query_of(signed.url), put.headers)


def open_by(gate: LocalGate, method: str, key: ObjectKey, query: dict[str, str], headers: dict[str, str]) -> None:
    if method == "PUT":
        gate.open_put(key, query, headers).abort()
    else:
        gate.open_get(method, key, query)


def test_a_rotation_keeps_urls_alive_once(tmp_path: Path, clock: FakeClock) -> None:
    def allowed(keys: SigningKeys, url: str) -> bool:
        return LocalSigner(keys, URL, clock, None).allows(KEY, query_of(url))

    first = load_or_create_signing_key(tmp_path)
    url = sign_get(LocalSigner(first, URL, clock, None)).url
    second = rotate_signing_key(tmp_path)
    assert second == load_or_create_signing_key(tmp_path)
    assert (second.current, second.previous) == (second.current, first.current)
    assert second.current != first.current
    assert allowed(second, url)
    assert not allowed(rotate_signing_key(tmp_path), url)
    assert not allowed(SigningKeys(b"another key of 32 characters ok!"), url)


# ── keys ──


def test_a_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "not/there/yet"
    keys = load_or_create_signing_key(folder)
    assert load_or_create_signing_key(folder) == keys
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKeys.from_secret(path.read_text()) == keys
    assert keys.previous is None


def test_processes_that_start_together_get_one_key(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from musproj.adapters.local.signing import load_or_create_signing_key\n"
        "children = []\n"
        "for turn in range(16):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        key = load_or_create_signing_key(Path(sys.argv[1])).current\n"
        "        os.write(1, key + b'\\n'); os._exit(0)\n"
        "    children.append(child)\n"
        "for child in children: os.waitpid(child, 0)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "data")]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert len(told) == 16
    assert len(set(told)) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["signing-key"]


def test_a_key_that_others_may_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_or_create_signing_key(tmp_path)
    assert caplog.records == []
    (tmp_path / "signing-key").chmod(0o644)
    load_or_create_signing_key(tmp_path)
    assert [record.action for record in caplog.records] == ["signing_key_exposed"]


def test_a_key_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackendUnavailableError):
        load_or_create_signing_key(tmp_path / "file")
    (tmp_path / "signing-key").mkdir()
    for call in (load_or_create_signing_key, rotate_signing_key):
        with pytest.raises(BackendUnavailableError):
            call(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_write_that_fails_leaves_the_old_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = load_or_create_signing_key(tmp_path)

    def failing(*args, **named) -> None:
        raise OSError(5, "failing")

    with monkeypatch.context() as patched:
        patched.setattr("os.rename", failing)
        with pytest.raises(BackendUnavailableError):
            rotate_signing_key(tmp_path)
    assert load_or_create_signing_key(tmp_path) == keys
    assert [path.name for path in tmp_path.iterdir()] == ["signing-key"]


@pytest.mark.parametrize("text", ["", " ", "short", "long enough to be one,short", "a" * 16 + " " + "b" * 16 + " c"])
def test_what_cannot_be_a_key_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SigningKeys.from_secret(text)
    assert not text.strip() or text not in f"{caught.value} {caught.value.hint}"
    (tmp_path / "signing-key").write_text(text)
    with pytest.raises(ConfigurationError):
        load_or_create_signing_key(tmp_path)


def test_a_secret_may_be_given_with_the_one_before(clock: FakeClock) -> None:
    old, new = "o" * 20, "n" * 20
    assert SigningKeys.from_secret(f"{new},{old}") == SigningKeys(new.encode(), old.encode())
    assert SigningKeys.from_secret(f" {new}\n") == SigningKeys(new.encode())


def test_a_download_carries_its_name_and_type(gate: LocalGate, signer: LocalSigner) -> None:
    grant = gate.open_get("HEAD", KEY, query_of(sign_get(signer, filename="Täke.wav", inline=True).url))
    assert grant.headers == {
        "content-type": "audio/wav",
        "content-disposition": "inline; filename=\"T_ke.wav\"; filename*=UTF-8''T%C3%A4ke.wav",
    }
    assert grant.path.read_bytes() == b"content"
    assert parse_qs(urlsplit(sign_get(signer).url).query)["fn"] == ["take.wav"]
