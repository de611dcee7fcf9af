"""What boto3 raises, as ours."""

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.boto_errors import told_as_ours
from musproj.adapters.s3.exchange import Question
from musproj.domain.keys import object_key
from musproj.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ObjectChangedError,
    ObjectMissingError,
    StorageDeniedError,
)
from musproj.testing.threads import error_of

KEY = object_key("assets/ast_1/v1/source.wav")
ADDRESS = BucketAddress.from_url("r2://account/bucket")
URL = "https://host/bucket?X-Amz-Signature=secret"


def told(raised: Exception) -> Exception:
    def call() -> None:
        with told_as_ours(Question(method="POST", key=KEY), ADDRESS):
            raise raised

    found = error_of(call, Exception)
    assert found is not None
    return found


def refused(status: int, code: str) -> ClientError:
    response = {
        "Error": {"Code": code, "Message": f"told of {URL}"},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {"X-Amz-Request-Id": "r1"}},
    }
    return ClientError(response, "CompleteMultipartUpload")


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, "NoSuchUpload", ObjectMissingError),
        (412, "PreconditionFailed", ObjectChangedError),
        (403, "SignatureDoesNotMatch", StorageDeniedError),
        (503, "SlowDown", BackendUnavailableError),
        (409, "ConditionalRequestConflict", BackendUnavailableError),
        (400, "InvalidPart", ConfigurationError),
    ],
)
def test_a_refusal_is_told_as_that_of_any_request(status, code, error):
    found = told(refused(status, code))
    assert type(found) is error
    assert (found.facts["store_code"], found.facts["request_id"], found.facts["key"]) == (code, "r1", KEY)
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    "raised",
    [
        EndpointConnectionError(endpoint_url=URL),
        ConnectTimeoutError(endpoint_url=URL),
        ReadTimeoutError(endpoint_url=URL),
        ResponseParserError(f"no XML at {URL}"),
    ],
)
def test_no_whole_answer_is_a_store_that_is_away(raised):
    found = told(raised)
    assert type(found) is BackendUnavailableError
    assert "secret" not in str(found)


def test_a_bug_of_ours_is_not_hidden():
    bug = KeyError("UploadId")
    assert told(bug) is bug
