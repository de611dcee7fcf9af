"""Signatures with known answers; the rest is compared with botocore in tests/property."""

import threading
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.signed_urls import S3SignedUrls
from musproj.adapters.s3.signing import QuerySigner
from musproj.adapters.s3.storage import MAX_PUT_BYTES
from musproj.domain.keys import ObjectKey
from musproj.errors import InvalidError
from musproj.ports.plugin import Credentials
from musproj.testing.clock import NOON, FakeClock

DOCUMENTED = Credentials(
    access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)
MAY_24 = 1369353600
KEY = ObjectKey("assets/ast_1/v1/source.wav")
HOUR = timedelta(hours=1)
SHA = "ab" * 32


def signer_of(url: str = "r2://acc0/audio", credentials: Credentials = DOCUMENTED) -> QuerySigner:
    return QuerySigner(BucketAddress.from_url(url), credentials)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def urls(clock: FakeClock) -> S3SignedUrls:
    address = BucketAddress.from_url("r2://acc0/audio")
    return S3SignedUrls(address, QuerySigner(address, DOCUMENTED), clock)


def query_of(url: str) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_the_example_of_the_documentation() -> None:
    """Amazon S3, "Authenticating requests: using query parameters", example."""
    signer = signer_of("s3://examplebucket?endpoint=https://s3.amazonaws.com&region=us-east-1&addressing=virtual")
    assert signer.target("GET", "test.txt", at=MAY_24, life_s=86400) == (
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_seconds_and_days_follow_the_clock() -> None:
    signer = signer_of()
    last = MAY_24 + 86399
    moments = [MAY_24, MAY_24 + 1, last, last + 1, MAY_24]
    used = [signer.target("GET", "k", at=at, life_s=60) for at in moments]
    fresh = [signer_of().target("GET", "k", at=at, life_s=60) for at in moments]
    assert used == fresh
    assert [query_of(url)["X-Amz-Date"] for url in used[2:4]] == ["20130524T235959Z", "20130525T000000Z"]


def test_threads_at_different_times_do_not_mix() -> None:
    signer = signer_of()
    expected = {at: signer_of().target("GET", "k", at=at, life_s=60) for at in range(MAY_24, MAY_24 + 4 * 86400, 86400)}
    wrong: list[str] = []

    def sign(at: int) -> None:
        for _ in range(2000):
            found = signer.target("GET", "k", at=at, life_s=60)
            if found != expected[at]:
                wrong.append(found)

    threads = [threading.Thread(target=sign, args=(at,)) for at in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_put_signs_exactly_what_it_promises(urls: S3SignedUrls) -> None:
    """Never SigV2, which would cover none of them."""
    signed = urls.sign_put(KEY, content_type="audio/wav", size=7, sha256=SHA, expires_in=HOUR)
    assert signed.url.startswith("https://acc0.r2.cloudflarestorage.com/audio/assets/ast_1/v1/source.wav?")
    query = query_of(signed.url)
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["X-Amz-SignedHeaders"] == "content-length;content-type;host;if-none-match;x-amz-checksum-sha256"
    assert signed.headers == {
        "content-type": "audio/wav",
        "if-none-match": "*",
        "content-length": "7",
        "x-amz-checksum-sha256": "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=",
    }
    plain = urls.sign_put(KEY, content_type="audio/wav", size=7, sha256=None, expires_in=HOUR)
    assert query_of(plain.url)["X-Amz-SignedHeaders"] == "content-length;content-type;host;if-none-match"


def test_a_get_names_the_download(urls: S3SignedUrls) -> None:
    signed = urls.sign_get(KEY, filename="Täke.wav", content_type="text/html", expires_in=HOUR, inline=True)
    query = query_of(signed.url)
    assert query["response-content-disposition"] == "inline; filename=\"T_ke.wav\"; filename*=UTF-8''T%C3%A4ke.wav"
    assert query["response-content-type"] == "application/octet-stream"
    assert query["X-Amz-SignedHeaders"] == "host"
    assert signed.headers == {}


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (timedelta(0), 1),
        (timedelta(days=-3), 1),
        (timedelta(seconds=1.2), 2),
        (timedelta(days=7), 604_800),
        (timedelta(days=400), 604_800),
    ],
)
def test_a_life_lies_between_a_second_and_a_week(urls: S3SignedUrls, asked: timedelta, seconds: int) -> None:
    """boto3 signs longer ones, which the store then refuses."""
    signed = urls.sign_get(KEY, filename="a", content_type="audio/wav", expires_in=asked)
    assert query_of(signed.url)["X-Amz-Expires"] == str(seconds)
    assert signed.expires_at == NOON + timedelta(seconds=seconds)


def test_the_end_is_the_one_that_the_store_sees(urls: S3SignedUrls, clock: FakeClock) -> None:
    clock.advance(timedelta(milliseconds=900))
    signed = urls.sign_get(KEY, filename="a", content_type="audio/wav", expires_in=HOUR)
    assert signed.expires_at == NOON + HOUR


def test_a_session_token_is_part_of_the_url() -> None:
    credentials = Credentials(access_key_id="AK", secret_access_key="SK", session_token="a/b+c=")
    assert (
        query_of(signer_of(credentials=credentials).target("GET", "k", at=0, life_s=1))["X-Amz-Security-Token"]
        == "a/b+c="
    )


def test_the_powers_of_the_store_are_told(urls: S3SignedUrls) -> None:
    assert (urls.needs_size, urls.max_put_bytes) == (True, MAX_PUT_BYTES)
    assert MAX_PUT_BYTES == 5_363_340_410, "4.995 GiB"


@pytest.mark.parametrize(
    "wrong", [{"size": None}, {"content_type": "a\r\nb: c"}, {"content_type": " a"}, {"sha256": "AB" * 32}]
)
def test_what_cannot_be_signed_is_refused(urls: S3SignedUrls, wrong) -> None:
    with pytest.raises(InvalidError):
        urls.sign_put(KEY, **{"content_type": "audio/wav", "size": 7, "sha256": None, "expires_in": HOUR} | wrong)


@pytest.mark.parametrize("key", ["../x", "a//b", "", "a?b", "ä"])
def test_what_is_no_key_is_not_signed(urls: S3SignedUrls, key: str) -> None:
    with pytest.raises(InvalidError):
        urls.sign_get(ObjectKey(key), filename="x", content_type="audio/wav", expires_in=HOUR)
    with pytest.raises(InvalidError):
        urls.sign_put(ObjectKey(key), content_type="audio/wav", size=1, sha256=None, expires_in=HOUR)


def test_a_url_is_no_secret_in_a_repr(urls: S3SignedUrls) -> None:
    signed = urls.sign_get(KEY, filename="x", content_type="audio/wav", expires_in=HOUR)
    assert query_of(signed.url)["X-Amz-Signature"] not in repr(signed)
    assert "bPxRfiCY" not in repr(DOCUMENTED)
