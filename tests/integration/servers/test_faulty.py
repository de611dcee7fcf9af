import http.client
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, ResponseStreamingError
from botocore.exceptions import ConnectionError as BotoConnectionError

from musproj.testing.faulty import Fault, FaultyProxy

BROKEN = (BotoConnectionError, HTTPClientError, ResponseStreamingError, http.client.HTTPException)


@pytest.fixture
def proxy(swift_server):
    with FaultyProxy(swift_server.port) as proxy:
        yield proxy


@pytest.fixture
def s3(swift_server, proxy):
    client = boto3.client(
        "s3",
        endpoint_url=proxy.endpoint,
        region_name=swift_server.region,
        aws_access_key_id=swift_server.access_key,
        aws_secret_access_key=swift_server.secret_key,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


@pytest.fixture
def place(swift_server):
    return {"Bucket": swift_server.bucket, "Key": f"faulty/{uuid.uuid4().hex}"}


def test_without_orders_it_is_the_server(s3, place):
    s3.put_object(**place, Body=b"take" * 100_000)
    assert s3.get_object(**place)["Body"].read() == b"take" * 100_000


def test_a_refusal_never_reaches_the_server(s3, place, proxy):
    proxy.order(Fault(deed="refuse", method="PUT", status=503, retry_after=7))
    with pytest.raises(ClientError) as caught:
        s3.put_object(**place, Body=b"x")
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) == ("SlowDown", "7")
    assert s3.list_objects_v2(Bucket=place["Bucket"], Prefix=place["Key"])["KeyCount"] == 0


def test_a_reset_never_reaches_the_server(s3, place, proxy):
    proxy.order(Fault(deed="reset", method="PUT"))
    with pytest.raises(BROKEN):
        s3.put_object(**place, Body=b"x")
    assert s3.list_objects_v2(Bucket=place["Bucket"], Prefix=place["Key"])["KeyCount"] == 0


def test_a_lost_reply_leaves_what_the_server_did(s3, place, proxy):
    proxy.order(Fault(deed="lose_reply", method="PUT"))
    with pytest.raises(BROKEN):
        s3.put_object(**place, Body=b"x")
    assert s3.get_object(**place)["Body"].read() == b"x"


def test_a_body_is_cut_or_spoiled(s3, place, proxy):
    s3.put_object(**place, Body=b"take")
    proxy.order(Fault(deed="truncate", method="GET"))
    with pytest.raises(BROKEN):
        s3.get_object(**place)["Body"].read()
    proxy.order(Fault(deed="spoil", method="GET"))
    assert s3.get_object(**place)["Body"].read() == b"uake"
    assert s3.get_object(**place)["Body"].read() == b"take"


def test_it_does_as_often_as_ordered_and_behaves_when_told(s3, place, proxy):
    s3.put_object(**place, Body=b"x")
    proxy.order(Fault(deed="refuse", path=f".*/{place['Key']}", times=2))
    for _ in range(2):
        with pytest.raises(ClientError):
            s3.get_object(**place)
    s3.get_object(**place)
    proxy.order(Fault(deed="refuse", times=100))
    proxy.behave()
    s3.get_object(**place)
