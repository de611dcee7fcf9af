"""Large uploads in parts over HTTP."""

import io
import wave

import attrs
import pytest
from msgspec import UNSET

from musproj import DEFAULT_OWNER, UploadSpec
from musproj.http import schemas

MIB = 1024**2
PART = 8 * MIB


def wav(size: int) -> bytes:
    """Return a recording of about that many bytes."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((2, 2, 48_000, 0, "NONE", ""))
        file.writeframes(b"\1\2\3\4" * (size // 4))
    return buffer.getvalue()


@pytest.fixture
def parts_api(open_api):
    return open_api(parts=True, multipart_bytes=MIB)


def request(api, content: bytes, **fields) -> dict:
    answer = api.post("/uploads/request", {"filename": "a.wav", "size": len(content), **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def send(api, ticket, content: bytes, *numbers: int) -> list[int]:
    answer = api.post(f"/uploads/{ticket['assetId']}/parts", {"partNumbers": list(numbers)})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    size = ticket["multipart"]["partSize"]
    return [
        api.mp.uploads.multipart.send(
            part["url"], part["headers"], content[(part["partNumber"] - 1) * size : part["partNumber"] * size]
        )
        for part in answer.json()["parts"]
    ]


def test_a_large_upload_comes_in_parts(parts_api):
    content = wav(2 * PART + 1000)
    ticket = request(parts_api, content)
    assert ticket["multipart"] == {"partSize": PART, "partCount": 3}
    assert (ticket["method"], "url" in ticket) == ("PUT", True)
    path = f"/uploads/{ticket['assetId']}/parts"

    assert send(parts_api, ticket, content, 3, 1) == [200, 200]
    received = parts_api.get(path)
    assert received.json() == {
        "partSize": PART,
        "partCount": 3,
        "parts": [
            {"partNumber": 1, "size": PART, "etag": received.json()["parts"][0]["etag"]},
            {"partNumber": 3, "size": len(content) - 2 * PART, "etag": received.json()["parts"][1]["etag"]},
        ],
    }
    early = parts_api.post(f"/uploads/confirm/{ticket['assetId']}")
    assert (early.status_code, early.json()["code"], early.json()["missingParts"]) == (409, "upload_missing", [2])
    assert "retry-after" in early.headers

    assert send(parts_api, ticket, content, 2) == [200]
    confirmed = parts_api.post(f"/uploads/confirm/{ticket['assetId']}")
    assert (confirmed.status_code, confirmed.json()["status"]) == (200, "ready")
    assert confirmed.json()["versions"][0]["files"][0]["size"] == len(content)
    assert parts_api.get(path).json()["code"] == "conflict"


def test_a_signed_part_says_all_that_its_put_needs(parts_api):
    ticket = request(parts_api, wav(PART + 10))
    body = {"partNumbers": [2], "expiresIn": 120}
    (part,) = parts_api.post(f"/uploads/{ticket['assetId']}/parts", body).json()["parts"]
    assert set(part) == {"partNumber", "method", "url", "headers", "expiresAt", "expiresIn"}
    assert (part["partNumber"], part["method"], part["expiresIn"]) == (2, "PUT", 120)
    assert part["headers"] == {"content-length": str(len(wav(PART + 10)) - PART)}


def test_parts_of_another_size_are_told(parts_api):
    content = wav(PART + 1000)
    ticket = request(parts_api, content)
    send(parts_api, ticket, content, 1, 2)
    store, key = parts_api.mp.uploads.multipart, ticket["objectKey"]
    asset = parts_api.mp.metadata.assets.find(ticket["assetId"])
    life = parts_api.mp.uploads.policy.url_life
    signed = store.sign_part(key, asset.upload.multipart.upload_id, 1, size=3, expires_in=life)
    assert store.send(signed.url, signed.headers, b"RIF") == 200

    answer = parts_api.post(f"/uploads/confirm/{ticket['assetId']}")

    assert (answer.status_code, answer.json()["code"]) == (422, "upload_mismatch")
    assert answer.json()["unequalParts"] == [1]


def test_an_upload_that_one_put_cannot_carry_says_so(parts_api):
    ticket = parts_api.mp.uploads.request(DEFAULT_OWNER, UploadSpec(size=PART))
    shown = [
        schemas.to_ticket(attrs.evolve(ticket, max_put_bytes=limit), parts_api.clock.now()).multipart.required
        for limit in (None, PART, PART - 1)
    ]
    assert shown == [UNSET, UNSET, True]


def test_a_small_upload_comes_whole(parts_api):
    ticket = request(parts_api, wav(1000))
    assert "multipart" not in ticket
    answer = parts_api.post(f"/uploads/{ticket['assetId']}/parts", {"partNumbers": [1]})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "url" in answer.json()["hint"]


def test_a_store_that_takes_no_parts_offers_none(api):
    assert "multipart" not in request(api, b"x" * 100 * MIB)


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({}, ["/partNumbers"]),
        ({"partNumbers": []}, ["/partNumbers"]),
        ({"partNumbers": [0]}, ["/partNumbers/0"]),
        ({"partNumbers": [1, 3, 1]}, ["/partNumbers/1", "/partNumbers/2"]),
        ({"partNumbers": list(range(1, 1002))}, ["/partNumbers"]),
        ({"partNumbers": [1], "upload": "x"}, ["/upload"]),
    ],
)
def test_every_wrong_place_is_named(parts_api, body, places):
    ticket = request(parts_api, wav(PART + 10))
    answer = parts_api.post(f"/uploads/{ticket['assetId']}/parts", body)
    assert answer.status_code == 422
    assert [place["pointer"] for place in answer.json()["errors"]] == places


def test_giving_up_ends_the_parts(parts_api):
    content = wav(PART + 10)
    ticket = request(parts_api, content)
    send(parts_api, ticket, content, 1)
    path = f"/uploads/{ticket['assetId']}"
    signed = parts_api.post(f"{path}/parts", {"partNumbers": [1]}).json()["parts"][0]

    assert [parts_api.request("DELETE", path).status_code for _ in range(2)] == [204, 204]

    assert parts_api.mp.uploads.multipart.send(signed["url"], signed["headers"], content[:PART]) == 404
    for answer in (parts_api.get(f"{path}/parts"), parts_api.post(f"{path}/parts", {"partNumbers": [1]})):
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
