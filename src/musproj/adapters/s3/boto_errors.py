"""What boto3 raises, told as our errors; its own exceptions are imported with the first call, as boto3 is."""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.errors import refusal, unreachable
from musproj.adapters.s3.exchange import Answer, Question

_SIGNATURE_LIFE_S = 900
"""Of a signature in a header (S3 docs, "Authenticating requests")."""


@contextmanager
def told_as_ours(asked: Question, address: BucketAddress) -> Generator[None]:
    """Translate what a call of boto3's client raises in the block.

    Raises:
        MusProjError: as the bucket's own answers are told.
    """
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, IncompleteReadError  # noqa: A004, PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    try:
        yield
    except ClientError as exc:
        answer = _answer_of(exc.response)
        raise refusal(answer, asked, address, now=time.time(), life_s=_SIGNATURE_LIFE_S) from exc
    except (ConnectionError, HTTPClientError, IncompleteReadError) as exc:
        # In words of our own: the library's hold the URL.
        raise unreachable(asked, address, "the connection broke, or there was none") from exc
    except ResponseParserError as exc:
        raise unreachable(asked, address, "its answer cannot be read") from exc


def _answer_of(response: Mapping[str, Any]) -> Answer:
    told, code = response["ResponseMetadata"], response["Error"].get("Code", "")
    headers = {name.lower(): value for name, value in told.get("HTTPHeaders", {}).items()}
    return Answer(status=told["HTTPStatusCode"], headers=headers, body=f"<Code>{code}</Code>".encode())
