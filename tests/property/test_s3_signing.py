"""Our signatures are botocore's, for the same clock and whatever is signed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.signing import LONGEST_LIFE_S, QuerySigner
from musproj.ports.plugin import Credentials

botocore_auth = pytest.importorskip("botocore.auth")
awsrequest = pytest.importorskip("botocore.awsrequest")
boto_credentials = pytest.importorskip("botocore.credentials")

PIECES = st.sampled_from(
    [
        "assets/",
        "take one",
        "%2F",
        "%",
        "//",
        "..",
        "/",
        "+",
        "~",
        "ä",
        "e\u0301",
        "🎧",
        "日本",
        "?",
        "#",
        "&=",
        "'\"",
        "*",
    ]
)
KEYS = st.one_of(
    st.lists(PIECES, min_size=1).map("".join), st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
)
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Content-Type",
            "content-length",
            "If-None-Match",
            "x-amz-checksum-sha256",
            "X-Amz-Meta-Name",
            "x-amz-meta-a-b",
        ]
    ),
    st.one_of(TEXT, st.sampled_from(["*", 'attachment; filename="a  b"', "  spaced   out  ", "audio/wav"])),
)
QUERIES = st.dictionaries(
    st.sampled_from(
        [
            "response-content-disposition",
            "response-content-type",
            "list-type",
            "prefix",
            "max-keys",
            "continuation-token",
            "uploadId",
            "partNumber",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
)
ADDRESSES = st.sampled_from(
    [
        "r2://acc0/audio",
        "r2://acc0/audio?addressing=virtual&jurisdiction=eu",
        "s3://audio?endpoint=http://127.0.0.1:9000",
        "s3://audio?endpoint=https://s3.example:443&region=us-east-1",
        "s3://audio?endpoint=http://[::1]:9000&region=eu-central-1",
        "s3://au.dio?endpoint=https://h/storage/v1/s3&region=x",
    ]
)
TOKENS = st.one_of(st.none(), st.text("abAB01+/=", min_size=1))


@given(
    url=ADDRESSES,
    method=st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST"]),
    key=st.one_of(st.none(), KEYS),
    headers=HEADERS,
    query=QUERIES,
    token=TOKENS,
    life=st.integers(1, LONGEST_LIFE_S),
)
@example("r2://acc0/audio", "PUT", "assets/a b/v1/ü%2F//../x.wav", {"If-None-Match": "*"}, {}, "t/+=", 1)
@example("r2://acc0/audio", "GET", None, {}, {"list-type": "2", "prefix": "a/ b"}, None, 900)
def test_a_url_is_botocores(
    url: str,
    method: str,
    key: str | None,
    headers: dict[str, str],
    query: dict[str, str],
    token: str | None,
    life: int,
) -> None:
    address = BucketAddress.from_url(url)
    credentials = Credentials(access_key_id="AK/ID+1", secret_access_key="s/ec+ret", session_token=token)
    expected = botocore_url(address, credentials, method, key, headers, query, life)
    stamp = fields(expected)["X-Amz-Date"]
    at = int(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    signer = QuerySigner(address, credentials)
    ours = address.origin + signer.target(method, key, at=at, life_s=life, headers=headers, query=query)
    assert urlsplit(ours)[:3] == urlsplit(expected)[:3]
    assert fields(ours) == fields(expected)


def fields(url: str) -> dict[str, str]:
    """Return the query as it stands, whatever its order: the signature is made of the sorted one."""
    return dict(pair.split("=", 1) for pair in urlsplit(url).query.split("&"))


def botocore_url(
    address: BucketAddress,
    credentials: Credentials,
    method: str,
    key: str | None,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    life: int,
) -> str:
    from urllib.parse import quote

    path = address.path + ("" if key is None else f"/{quote(key, safe='/~')}")
    asked: Any = awsrequest.AWSRequest(
        method=method,
        url=address.origin + (path or "/"),
        headers=dict(headers),
        params=dict(query),
    )
    known = boto_credentials.Credentials(
        credentials.access_key_id, credentials.secret_access_key, credentials.session_token
    )
    botocore_auth.S3SigV4QueryAuth(known, "s3", address.region, expires=life).add_auth(asked)
    return asked.url


# ── through boto3, as its users have it ──

OPERATIONS = st.sampled_from(
    ["get_object", "head_object", "put_object", "delete_object", "upload_part", "list_objects_v2"]
)


@pytest.fixture(scope="module")
def boto_clients() -> dict[str | None, Any]:
    from musproj.adapters.s3.boto import LateBotoClient
    from musproj.adapters.s3.patience import BRISK

    address = BucketAddress.from_url("s3://audio?endpoint=http://127.0.0.1:9000")
    return {
        token: LateBotoClient(
            address, Credentials(access_key_id="AK", secret_access_key="SK", session_token=token), BRISK
        ).get()
        for token in (None, "to/k+en=")
    }


CASES: dict[str, tuple[str, dict[str, Any], dict[str, str], dict[str, str]]] = {
    "get_object": (
        "GET",
        {"ResponseContentDisposition": "attachment; filename*=UTF-8''%C3%A4", "ResponseContentType": "audio/wav"},
        {},
        {
            "response-content-disposition": "attachment; filename*=UTF-8''%C3%A4",
            "response-content-type": "audio/wav",
        },
    ),
    "head_object": ("HEAD", {"ChecksumMode": "ENABLED"}, {"x-amz-checksum-mode": "ENABLED"}, {}),
    "put_object": (
        "PUT",
        {
            "IfNoneMatch": "*",
            "ContentType": 'audio/wav; a="b  c"',
            "ContentLength": 7,
            "ChecksumSHA256": "q6s=",
            "Metadata": {"musproj-job": "job_1"},
        },
        {
            "if-none-match": "*",
            "content-type": 'audio/wav; a="b  c"',
            "content-length": "7",
            "x-amz-checksum-sha256": "q6s=",
            "x-amz-meta-musproj-job": "job_1",
        },
        {},
    ),
    "delete_object": ("DELETE", {}, {}, {}),
    "upload_part": (
        "PUT",
        {"PartNumber": 3, "UploadId": "u/+ =", "ContentLength": 5},
        {"content-length": "5"},
        {"partNumber": "3", "uploadId": "u/+ ="},
    ),
}
"""Operation → method, boto3's parameters, headers, query."""


@pytest.mark.parametrize("token", [None, "to/k+en="])
@pytest.mark.parametrize("operation", CASES)
@given(key=KEYS, life=st.integers(1, LONGEST_LIFE_S))
def test_a_url_is_boto3s(
    boto_clients: dict[str | None, Any], operation: str, token: str | None, key: str, life: int
) -> None:
    method, parameters, headers, query = CASES[operation]
    expected: str = boto_clients[token].generate_presigned_url(
        operation, Params={"Bucket": "audio", "Key": key, **parameters}, ExpiresIn=life
    )
    address = BucketAddress.from_url("s3://audio?endpoint=http://127.0.0.1:9000")
    signer = QuerySigner(address, Credentials(access_key_id="AK", secret_access_key="SK", session_token=token))
    stamp = fields(expected)["X-Amz-Date"]
    at = int(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    ours = address.origin + signer.target(method, key, at=at, life_s=life, headers=headers, query=query)
    kept = {name: value for name, value in fields(expected).items() if name != "x-id"}
    assert urlsplit(ours)[:3] == urlsplit(expected)[:3]
    assert fields(ours) == kept
