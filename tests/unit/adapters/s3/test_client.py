"""What a client keeps to itself: its connections, and its secrets."""

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.boto import LateBotoClient
from musproj.adapters.s3.exchange import Question
from musproj.adapters.s3.patience import BRISK
from musproj.adapters.s3.plugin import open_storage
from musproj.adapters.s3.storage import S3Storage
from musproj.domain.keys import object_key
from musproj.domain.ledger import Rules
from musproj.errors import BackendUnavailableError, ConfigurationError
from musproj.ports.plugin import Credentials, PluginContext
from musproj.testing.clock import FakeClock

KEY = object_key("assets/ast_1/v1/source.wav")
CREDENTIALS = Credentials(access_key_id="AK", secret_access_key="SECRET", session_token="TOKEN")


def context(credentials: Credentials | None = CREDENTIALS, **changes) -> PluginContext:
    return PluginContext(
        clock=FakeClock(),
        rules=Rules(),
        queue_name="audio-jobs",
        data=Path("absent"),
        base_url="http://127.0.0.1:8700",
        max_upload_bytes=1 << 30,
        credentials=credentials,
        **changes,
    )


def test_no_query_is_logged(server, client, caplog: pytest.LogCaptureFixture) -> None:
    """urllib3 logs each request line at debug, and a library cannot know who turns that on."""
    caplog.set_level(logging.DEBUG, logger="urllib3")
    server.plays(server.reply(200), server.reply(503))
    client.ask(Question(method="GET", key=KEY))
    with pytest.raises(BackendUnavailableError):
        client.ask(Question(method="GET", key=KEY))
    assert "/bucket/assets/ast_1/v1/source.wav" in caplog.text
    assert "X-Amz" not in caplog.text
    assert "X-Amz-Signature" in server.seen[0].target


def test_connections_are_used_again(server, client) -> None:
    server.plays(*[server.reply(200, b"x" * 100)] * 5)
    for _ in range(5):
        assert client.ask(Question(method="GET", key=KEY)).body == b"x" * 100
    assert server.connections == 1


def test_a_refusal_keeps_its_connection(server, client) -> None:
    server.plays(*[server.refusal(404, "NoSuchKey")] * 3)
    for _ in range(3):
        with pytest.raises(Exception, match="no object"):
            client.ask(Question(method="GET", key=KEY))
    assert server.connections == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # of Python 3.12 on, for any fork
def test_a_child_has_connections_of_its_own(server, client) -> None:
    """Those of its parent carry the parent's answers, and closing the child's must not end them."""
    server.plays(*[server.reply(200)] * 3)
    client.ask(Question(method="GET", key=KEY))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            client.ask(Question(method="GET", key=KEY))
            client.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    client.ask(Question(method="GET", key=KEY))
    assert server.connections == 2


def test_threads_share_a_client(server, client) -> None:
    server.plays(*[server.reply(200, b"x" * 1000)] * 64)
    bodies: list[bytes] = []

    def ask() -> None:
        bodies.extend(client.ask(Question(method="GET", key=KEY)).body for _ in range(8))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == [b"x" * 1000] * 64


def test_an_answer_without_end_is_not_read(server, client) -> None:
    server.plays(server.reply(200, bytes((8 << 20) + 1)))
    with pytest.raises(BackendUnavailableError):
        client.ask(Question(method="GET", key=KEY))


def test_a_redirect_is_not_followed(server, client) -> None:
    server.plays(server.reply(307, location="http://127.0.0.1:1/elsewhere"))
    with pytest.raises(ConfigurationError):
        client.ask(Question(method="GET", key=KEY))


# ── opening ──


@pytest.mark.parametrize("url", ["r2://acc0/audio", "s3://audio?region=eu-central-1"])
def test_opening_asks_nobody(url: str) -> None:
    opened = open_storage(url, context())
    assert isinstance(opened.storage, S3Storage)
    assert opened.signed_urls is not None
    assert opened.local_files is None
    assert opened.gate is None
    opened.storage.close()


@pytest.mark.parametrize(
    "credentials",
    [
        None,
        Credentials(access_key_id="AK", secret_access_key=""),
        Credentials(access_key_id="", secret_access_key="SECRET"),
    ],
)
def test_a_bucket_needs_credentials(credentials: Credentials | None) -> None:
    with pytest.raises(ConfigurationError, match="access key") as caught:
        open_storage("r2://acc0/audio", context(credentials))
    assert "MUSPROJ_S3_ACCESS_KEY_ID" in caught.value.hint


def test_the_way_of_the_bytes_does_without_boto3(server) -> None:
    server.plays(server.reply(200, etag='"e"'))
    script = (
        "import io, sys\n"
        "from musproj.adapters.s3.address import BucketAddress\n"
        "from musproj.adapters.s3 import plugin, storage, client, signing\n"
        "from musproj.ports.plugin import Credentials\n"
        f"address = BucketAddress.from_url('s3://bucket?endpoint={server.endpoint}')\n"
        "signer = signing.QuerySigner(address, Credentials(access_key_id='a', secret_access_key='b'))\n"
        "opened = storage.S3Storage(client.S3Client(address, signer))\n"
        "opened.put('a', io.BytesIO(b'1'), size=1, content_type='audio/wav')\n"
        "print(*sys.modules)\n"
    )
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert {"boto3", "botocore"} & set(loaded) == set()


def test_boto3_is_set_up_for_r2() -> None:
    late = LateBotoClient(BucketAddress.from_url("r2://acc0/audio"), CREDENTIALS, BRISK)
    client = late.get()
    assert late.get() is client
    config = client.meta.config
    assert (config.signature_version, config.s3) == ("s3v4", {"addressing_style": "path"})
    assert (config.request_checksum_calculation, config.response_checksum_validation) == ("when_required",) * 2
    assert (config.connect_timeout, config.read_timeout) == (2, 4)
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}
    assert client.meta.endpoint_url == "https://acc0.r2.cloudflarestorage.com"
    url = client.generate_presigned_url("put_object", Params={"Bucket": "audio", "Key": "k", "IfNoneMatch": "*"})
    assert "X-Amz-SignedHeaders=host%3Bif-none-match&" in url
