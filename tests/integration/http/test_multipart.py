"""Large uploads in parts, by HTTP alone: the API, and a bucket that behaves as R2 does."""

import hashlib
import re
import socket
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from musproj.testing.multipart import LATER

MIB = 1024**2
PART = 8 * MIB
HOWTO = Path(__file__).parents[3] / "docs/howto/upload-large-files.md"


class Relay:
    """Carries bytes between clients and a bucket; loses the answers to the requests that it is told to."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "http://{}:{}".format(*self._listening.getsockname())
        self.loses: Callable[[bytes], bool] = lambda _: False
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """Serve one connection; the client sends its next request when it has the answer to the last."""
        is_lost = threading.Event()
        with client, socket.create_connection(self._server) as server, suppress(OSError):
            back = threading.Thread(target=self._carry_back, args=(server, client, is_lost), daemon=True)
            back.start()
            while block := client.recv(1 << 16):
                if self.loses(block):
                    is_lost.set()
                server.sendall(block)
            server.shutdown(socket.SHUT_WR)
            back.join(20)

    def _carry_back(self, server: socket.socket, client: socket.socket, is_lost: threading.Event) -> None:
        with suppress(OSError):
            while block := server.recv(1 << 16):
                if is_lost.is_set():
                    self.lost += 1
                    break
                client.sendall(block)
            client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay(r2_server) -> Iterator[Relay]:
    relay = Relay(("127.0.0.1", r2_server.port))
    yield relay
    relay.close()


@pytest.fixture
def bucket(serve_with, r2_server, relay):
    """The API before that bucket."""
    stores = r2_server.stores()
    stores["storage"] = stores["storage"].replace(r2_server.endpoint, relay.endpoint)
    return serve_with(multipart_bytes=MIB, **stores)


@pytest.fixture
def take(tmp_path) -> Path:
    """A recording of three parts."""
    path = tmp_path / "take.wav"
    with wave.open(str(path), "wb") as audio:
        audio.setparams((2, 2, 48_000, 0, "NONE", ""))
        audio.writeframes(bytes(range(256)) * ((2 * PART + MIB) // 256))
    return path


def request(bucket, take: Path, **fields: object) -> dict:
    answer = bucket.client.post("/uploads/request", json={"filename": take.name, "size": take.stat().st_size, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def send(bucket, ticket: dict, take: Path, *numbers: int) -> None:
    answer = bucket.client.post(f"/uploads/{ticket['assetId']}/parts", json={"partNumbers": numbers})
    assert answer.status_code == 200, answer.text
    content = take.read_bytes()
    for part in answer.json()["parts"]:
        body = content[(part["partNumber"] - 1) * PART : part["partNumber"] * PART]
        put = httpx.request(part["method"], part["url"], content=body, headers=part["headers"])
        assert put.status_code == 200, put.text


def opened(bucket, ticket: dict) -> list[str]:
    found = bucket.mp.opened_storage.multipart.abandoned(f"assets/{ticket['assetId']}/", LATER)
    return [each.upload_id for each in found]


def test_an_interrupted_upload_goes_on_and_becomes_an_asset(bucket, take):
    ticket = request(bucket, take)
    assert ticket["multipart"] == {"partSize": PART, "partCount": 3}
    assert opened(bucket, ticket) == []
    send(bucket, ticket, take, 3, 1)
    path = f"/uploads/{ticket['assetId']}/parts"

    received = bucket.client.get(path).json()["parts"]
    assert [(part["partNumber"], part["size"]) for part in received] == [(1, PART), (3, take.stat().st_size - 2 * PART)]
    early = bucket.client.post(f"/uploads/confirm/{ticket['assetId']}")
    assert (early.status_code, early.json()["code"], early.json()["missingParts"]) == (409, "upload_missing", [2])
    send(bucket, ticket, take, 2)
    for _ in range(2):
        confirmed = bucket.client.post(f"/uploads/confirm/{ticket['assetId']}")
        assert (confirmed.status_code, confirmed.json()["status"]) == (200, "ready"), confirmed.text

    file = confirmed.json()["versions"][0]["files"][0]
    assert file["sha256"] == hashlib.sha256(take.read_bytes()).hexdigest()
    download = bucket.client.get(f"/assets/{ticket['assetId']}/download").json()
    assert httpx.get(download["url"]).content == take.read_bytes()
    assert opened(bucket, ticket) == []
    assert bucket.client.get(path).json()["code"] == "conflict"


def test_a_large_file_may_come_whole_and_ends_the_parts(bucket, take):
    ticket = request(bucket, take)
    send(bucket, ticket, take, 1)
    put = httpx.put(ticket["url"], content=take.read_bytes(), headers=ticket["headers"])
    assert put.status_code == 200

    confirmed = bucket.client.post(f"/uploads/confirm/{ticket['assetId']}")

    assert confirmed.json()["status"] == "ready"
    assert opened(bucket, ticket) == []


def test_parts_of_another_size_are_refused_before_the_bucket_is_asked(bucket, take):
    ticket = request(bucket, take)
    send(bucket, ticket, take, 1, 2, 3)
    (upload_id,) = opened(bucket, ticket)
    store, life = bucket.mp.opened_storage.multipart, bucket.mp.uploads.policy.url_life
    signed = store.sign_part(ticket["objectKey"], upload_id, 2, size=PART - 1, expires_in=life)
    assert httpx.put(signed.url, content=bytes(PART - 1), headers=signed.headers).status_code == 200

    refused = bucket.client.post(f"/uploads/confirm/{ticket['assetId']}")

    assert (refused.status_code, refused.json()["code"]) == (422, "upload_mismatch")
    assert refused.json()["unequalParts"] == [2]
    send(bucket, ticket, take, 2)
    assert bucket.client.post(f"/uploads/confirm/{ticket['assetId']}").status_code == 200


def test_a_sha256_is_that_of_the_bytes_not_of_the_entity_tag(bucket, take):
    for sha256, status in ((hashlib.sha256(take.read_bytes()).hexdigest(), 200), ("0" * 64, 422)):
        ticket = request(bucket, take, sha256=sha256)
        send(bucket, ticket, take, 1, 2, 3)
        assert bucket.client.post(f"/uploads/confirm/{ticket['assetId']}").status_code == status


def test_giving_up_drops_the_parts(bucket, take):
    ticket = request(bucket, take)
    send(bucket, ticket, take, 1)
    path = f"/uploads/{ticket['assetId']}"
    part = bucket.client.post(f"{path}/parts", json={"partNumbers": [2]}).json()["parts"][0]

    assert [bucket.client.delete(path).status_code for _ in range(2)] == [204, 204]

    assert opened(bucket, ticket) == []
    assert httpx.put(part["url"], content=bytes(PART), headers=part["headers"]).status_code == 404


def test_a_complete_whose_answer_is_lost_is_found_by_a_look(bucket, relay, take):
    ticket = request(bucket, take)
    send(bucket, ticket, take, 1, 2, 3)
    relay.loses = lambda block: block.startswith(b"POST /") and b"uploadId=" in block
    answers = (bucket.client.post(f"/uploads/confirm/{ticket['assetId']}") for _ in range(3))
    confirmed = next(one for one in answers if one.status_code != 503)  # of a busy machine: a client asks again
    assert relay.lost > 0
    assert (confirmed.status_code, confirmed.json()["versionCount"]) == (200, 1)


def test_a_confirm_is_repeated_when_the_bucket_was_gone_after_the_complete(bucket, relay, take):
    ticket = request(bucket, take)
    send(bucket, ticket, take, 1, 2, 3)
    has_completed = threading.Event()

    def loses(block: bytes) -> bool:
        if block.startswith(b"POST /") and b"uploadId=" in block:
            has_completed.set()
        return has_completed.is_set()

    relay.loses = loses
    answer = bucket.client.post(f"/uploads/confirm/{ticket['assetId']}")
    assert (answer.status_code, answer.json()["code"]) == (503, "backend_unavailable")
    relay.loses = lambda _: False
    confirmed = bucket.client.post(f"/uploads/confirm/{ticket['assetId']}")
    assert (confirmed.status_code, confirmed.json()["versionCount"]) == (200, 1)


def test_the_python_of_the_guide_runs(bucket, take):
    (source,) = re.findall(r"^```python\n(.*?)^```$", HOWTO.read_text(), re.MULTILINE | re.DOTALL)
    namespace: dict = {}
    exec(compile(source, HOWTO.name, "exec"), namespace)
    asset = namespace["upload"](bucket.client, str(take))
    assert asset["versions"][0]["files"][0]["size"] == take.stat().st_size
