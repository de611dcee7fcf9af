"""The layer over Swift answers as R2 does; boto3 is the client, which knows neither of them."""

import contextlib
import http.client
import threading
import urllib.parse
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1024**2
PART = 5 * MIB


@pytest.fixture
def s3(r2_server):
    client = boto3.client(
        "s3",
        endpoint_url=r2_server.endpoint,
        region_name=r2_server.region,
        aws_access_key_id=r2_server.access_key,
        aws_secret_access_key=r2_server.secret_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": 1},
        ),
    )
    yield client
    client.close()


@pytest.fixture
def place(r2_server):
    return {"Bucket": r2_server.bucket, "Key": f"layer/{uuid.uuid4().hex}"}


def code_of(call, /, **arguments):
    """Return the status and code of a refusal."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def start(s3, place, *sizes):
    upload = s3.create_multipart_upload(**place)["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**place, UploadId=upload, PartNumber=n, Body=b"x" * size)["ETag"]}
        for n, size in enumerate(sizes, start=1)
    ]
    return {"UploadId": upload, "MultipartUpload": {"Parts": parts}}


def test_equal_parts_and_a_smaller_last_one_become_an_object(s3, place):
    s3.complete_multipart_upload(**place, **start(s3, place, PART, PART, 1000))
    assert s3.head_object(**place)["ContentLength"] == 2 * PART + 1000


@pytest.mark.parametrize(
    ("sizes", "code"),
    [((PART, PART + 1, 10), "InvalidPart"), ((PART, PART + MIB), "InvalidPart"), ((MIB, MIB, 10), "EntityTooSmall")],
)
def test_parts_that_r2_would_not_join_are_refused(s3, place, sizes, code):
    assert code_of(s3.complete_multipart_upload, **place, **start(s3, place, *sizes)) == (400, code)


def test_a_part_number_over_10000_is_refused(s3, place):
    upload = s3.create_multipart_upload(**place)["UploadId"]
    status, _ = code_of(s3.upload_part, **place, UploadId=upload, PartNumber=10_001, Body=b"x")
    assert status == 400


def test_a_condition_on_complete_is_ignored(s3, place):
    s3.put_object(**place, Body=b"first")
    s3.complete_multipart_upload(**place, **start(s3, place, 1000), IfNoneMatch="*")
    assert s3.head_object(**place)["ContentLength"] == 1000


def test_a_condition_on_the_target_of_a_copy_is_ignored(s3, place):
    source = {**place, "Key": place["Key"] + "-source"}
    s3.put_object(**source, Body=b"copied")
    s3.put_object(**place, Body=b"first")
    s3.copy_object(**place, CopySource=source, IfNoneMatch="*")
    assert s3.get_object(**place)["Body"].read() == b"copied"


def test_the_condition_of_its_own_on_the_target_of_a_copy_is_obeyed(s3, place):
    source = {**place, "Key": place["Key"] + "-source"}
    s3.put_object(**source, Body=b"copied")
    s3.meta.events.register_first(
        "before-sign.s3.CopyObject",
        lambda request, **_: request.headers.add_header("cf-copy-destination-if-none-match", "*"),
    )
    s3.copy_object(**place, CopySource=source)
    assert code_of(s3.copy_object, **place, CopySource=source)[0] == 412
    assert s3.get_object(**place)["Body"].read() == b"copied"


def test_of_racing_create_only_puts_one_wins(s3, place):
    outcomes = []

    def put(body):
        try:
            s3.put_object(**place, Body=body, IfNoneMatch="*")
            outcomes.append(200)
        except ClientError as exc:
            outcomes.append(exc.response["ResponseMetadata"]["HTTPStatusCode"])

    racers = [threading.Thread(target=put, args=(bytes([n]) * 100_000,)) for n in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(outcomes) == [200] + [412] * 7


@pytest.mark.parametrize(
    "more",
    [{"Tagging": "a=b"}, {"ACL": "private"}, {"ServerSideEncryption": "aws:kms"}, {"ObjectLockLegalHoldStatus": "ON"}],
)
def test_what_r2_does_not_have_is_not_implemented(s3, place, more):
    assert code_of(s3.put_object, **place, Body=b"x", **more)[0] == 501


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_object_tagging", ("Bucket", "Key")),
        ("get_object_acl", ("Bucket", "Key")),
        ("get_bucket_versioning", ("Bucket",)),
        ("get_bucket_policy", ("Bucket",)),
    ],
)
def test_subresources_that_r2_does_not_have_are_not_implemented(s3, place, method, arguments):
    assert code_of(getattr(s3, method), **{name: place[name] for name in arguments})[0] == 501


def test_a_trailing_checksum_is_not_implemented(r2_server, place):
    headers = {"x-amz-trailer": "x-amz-checksum-crc32"}
    assert sent(r2_server, "PUT", f"/{place['Bucket']}/{place['Key']}", b"x", headers)[0] == 501


def test_a_streamed_payload_is_not_implemented(r2_server, place):
    headers = {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "content-encoding": "aws-chunked"}
    assert sent(r2_server, "PUT", f"/{place['Bucket']}/{place['Key']}", b"x", headers)[0] == 501


def test_a_form_upload_is_not_implemented(r2_server, place):
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert sent(r2_server, "POST", f"/{place['Bucket']}", b"--b--", headers)[0] == 501


def test_buckets_can_neither_be_listed_nor_made(s3):
    assert code_of(s3.list_buckets) == (403, "AccessDenied")
    assert code_of(s3.create_bucket, Bucket="another") == (403, "AccessDenied")


def test_a_url_for_more_than_a_week_is_refused(s3, r2_server, place):
    url = urllib.parse.urlsplit(s3.generate_presigned_url("get_object", Params=place, ExpiresIn=604_801))
    assert sent(r2_server, "GET", f"{url.path}?{url.query}")[0] == 400


def test_a_head_that_fails_has_no_body(s3, r2_server, place):
    url = urllib.parse.urlsplit(s3.generate_presigned_url("head_object", Params=place, ExpiresIn=604_801))
    assert sent(r2_server, "HEAD", f"{url.path}?{url.query}") == (400, b"")


def test_keys_and_metadata_have_limits(s3, place):
    assert code_of(s3.put_object, Bucket=place["Bucket"], Key="k" * 1_025, Body=b"x")[0] == 400
    assert code_of(s3.put_object, **place, Body=b"x", Metadata={"a": "v" * 8_192})[0] == 400


def test_an_object_of_5_gib_in_one_piece_is_refused(r2_server, place):
    headers = {"content-length": str(5_115 * MIB + 1)}
    assert sent(r2_server, "PUT", f"/{place['Bucket']}/{place['Key']}", b"", headers)[0] == 400


def test_a_second_write_within_a_second_is_too_many(swift_environment):
    from musproj.testing.swift import SwiftServer

    with SwiftServer(swift_environment, r2=True, one_write_per_second=True) as server:
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name=server.region,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )
        client.put_object(Bucket=server.bucket, Key="a", Body=b"x")
        assert code_of(client.put_object, Bucket=server.bucket, Key="a", Body=b"x")[0] == 429
        client.put_object(Bucket=server.bucket, Key="b", Body=b"x")
        client.close()


def sent(server, method, target, body=None, headers=None):
    """Send a request as it is; return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
