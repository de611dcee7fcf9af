"""What a presigned URL costs: ours beside botocore's signer and boto3, for the same inputs.

Usage: python benchmarks/presign.py
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as BotoCredentials

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.signed_urls import S3SignedUrls
from musproj.adapters.s3.signing import QuerySigner
from musproj.adapters.system import SystemClock
from musproj.domain.downloads import disposition
from musproj.domain.keys import ObjectKey
from musproj.domain.upload_headers import upload_headers
from musproj.ports.plugin import Credentials

ACCESS_KEY, SECRET_KEY = "a" * 32, "b" * 64
KEY = ObjectKey("assets/ast_01jd7qz5x2v9k3m8n4p6r0t1wy/v1/source.wav")
TYPE, SIZE, SHA256 = "audio/wav", 1 << 20, "ab" * 32
HOUR = timedelta(hours=1)

ADDRESS = BucketAddress.from_url("r2://0123456789abcdef0123456789abcdef/audio")
SIGNER = QuerySigner(ADDRESS, Credentials(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY))
URLS = S3SignedUrls(ADDRESS, SIGNER, SystemClock())
HEADERS = upload_headers(content_type=TYPE, size=SIZE, sha256=SHA256)
NAMED = disposition("take one.wav", inline=False)
QUERY = {"response-content-disposition": NAMED, "response-content-type": TYPE}


def main() -> None:
    boto = boto3.client(
        "s3",
        endpoint_url=ADDRESS.endpoint,
        region_name=ADDRESS.region,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    now = int(time.time())
    report(
        "PUT, five headers signed",
        {
            "ours: S3SignedUrls.sign_put": lambda: URLS.sign_put(
                KEY, content_type=TYPE, size=SIZE, sha256=SHA256, expires_in=HOUR
            ),
            "ours: QuerySigner alone": lambda: SIGNER.target("PUT", KEY, at=now, life_s=3600, headers=HEADERS),
            "botocore S3SigV4QueryAuth": lambda: by_botocore("PUT", HEADERS, {}),
            "boto3 generate_presigned_url": lambda: boto.generate_presigned_url("put_object", put_parameters(), 3600),
        },
    )
    report(
        "GET, name and type signed",
        {
            "ours: S3SignedUrls.sign_get": lambda: URLS.sign_get(
                KEY, filename="take one.wav", content_type=TYPE, expires_in=HOUR
            ),
            "ours: QuerySigner alone": lambda: SIGNER.target("GET", KEY, at=now, life_s=3600, query=QUERY),
            "botocore S3SigV4QueryAuth": lambda: by_botocore("GET", {}, QUERY),
            "boto3 generate_presigned_url": lambda: boto.generate_presigned_url("get_object", get_parameters(), 3600),
        },
    )
    report(
        "GET, nothing but the key",
        {
            "ours: QuerySigner alone": lambda: SIGNER.target("GET", KEY, at=now, life_s=3600),
            "botocore S3SigV4QueryAuth": lambda: by_botocore("GET", {}, {}),
            "boto3 generate_presigned_url": lambda: boto.generate_presigned_url(
                "get_object", {"Bucket": ADDRESS.bucket, "Key": KEY}, 3600
            ),
        },
    )


def by_botocore(method: str, headers: dict[str, str], query: dict[str, str]) -> str:
    url = f"{ADDRESS.origin}{ADDRESS.path}/{KEY}"
    asked = AWSRequest(method=method, url=url, headers=headers, params=dict(query))
    S3SigV4QueryAuth(BotoCredentials(ACCESS_KEY, SECRET_KEY), "s3", ADDRESS.region, expires=3600).add_auth(asked)
    return str(asked.url)


def put_parameters() -> dict[str, Any]:
    return {
        "Bucket": ADDRESS.bucket,
        "Key": KEY,
        "ContentType": TYPE,
        "ContentLength": SIZE,
        "IfNoneMatch": "*",
        "ChecksumSHA256": HEADERS["x-amz-checksum-sha256"],
    }


def get_parameters() -> dict[str, Any]:
    return {
        "Bucket": ADDRESS.bucket,
        "Key": KEY,
        "ResponseContentDisposition": NAMED,
        "ResponseContentType": TYPE,
    }


def report(title: str, calls: dict[str, Callable[[], object]]) -> None:
    costs = {name: microseconds(call) for name, call in calls.items()}
    first = next(iter(costs.values()))
    print(f"{title:34} µs each   × first")
    for name, cost in costs.items():
        print(f"  {name:32} {cost:7.1f} {cost / first:9.1f}")
    print()


def microseconds(call: Callable[[], object]) -> float:
    """Return the best of seven rounds: what else the machine does only adds."""
    call()
    begun = time.perf_counter()
    call()
    number = max(20, int(0.05 / (time.perf_counter() - begun)))
    best = float("inf")
    for _ in range(7):
        begun = time.perf_counter()
        for _ in range(number):
            call()
        best = min(best, time.perf_counter() - begun)
    return best / number * 1e6


if __name__ == "__main__":
    main()
