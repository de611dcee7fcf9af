"""Upload and download of one large object: ours beside boto3, each in a process of its own.

Usage: python benchmarks/transfers.py --swift ENVIRONMENT [--megabytes N] [--rounds N]
       python benchmarks/transfers.py --endpoint URL --access-key K --secret-key S --bucket B [--region R] [--megabytes N]

ENVIRONMENT is a virtual environment with `swift pyeclib`. The objects are deleted again. Over plain http boto3 hashes
what it sends, over https it does not.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.client import S3Client
from musproj.adapters.s3.signing import QuerySigner
from musproj.adapters.s3.storage import S3Storage
from musproj.domain.keys import ObjectKey
from musproj.ports.plugin import Credentials
from musproj.ports.storage import BLOCK_BYTES


@attrs.frozen
class Place:
    """A bucket, and a file to send."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str
    bucket: str
    file: str
    key: str = attrs.field(factory=lambda: f"bench/{uuid.uuid4().hex}")

    def storage(self) -> S3Storage:
        address = BucketAddress.from_url(f"s3://{self.bucket}?endpoint={self.endpoint}&region={self.region}")
        credentials = Credentials(access_key_id=self.access_key, secret_access_key=self.secret_key)
        return S3Storage(S3Client(address, QuerySigner(address, credentials)))

    def boto(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )


# ── cases: each prepares, and returns what is timed ──


def put_ours(place: Place) -> Callable[[], object]:
    storage = place.storage()
    storage.put(ObjectKey(f"{place.key}-warm"), io.BytesIO(b"1"), size=1, content_type="audio/wav")

    def put() -> None:
        with Path(place.file).open("rb", buffering=0) as source:
            size = os.fstat(source.fileno()).st_size
            storage.put(ObjectKey(place.key), source, size=size, content_type="audio/wav")

    return put


def put_boto_object(place: Place) -> Callable[[], object]:
    boto = place.boto()
    boto.put_object(Bucket=place.bucket, Key=f"{place.key}-warm", Body=b"1")

    def put() -> None:
        with Path(place.file).open("rb") as source:
            boto.put_object(Bucket=place.bucket, Key=place.key, Body=source)

    return put


def put_boto_file(place: Place) -> Callable[[], object]:
    boto = place.boto()
    boto.put_object(Bucket=place.bucket, Key=f"{place.key}-warm", Body=b"1")
    return lambda: boto.upload_file(place.file, place.bucket, place.key)


def get_ours(place: Place) -> Callable[[], object]:
    storage = place.storage()
    storage.stat(ObjectKey(place.key))

    def get() -> None:
        with tempfile.TemporaryFile(buffering=0) as copy:
            for block in storage.read(ObjectKey(place.key)):
                copy.write(block)

    return get


def get_boto_object(place: Place) -> Callable[[], object]:
    boto = place.boto()
    boto.head_object(Bucket=place.bucket, Key=place.key)

    def get() -> None:
        with tempfile.TemporaryFile(buffering=0) as copy:
            for block in boto.get_object(Bucket=place.bucket, Key=place.key)["Body"].iter_chunks(BLOCK_BYTES):
                copy.write(block)

    return get


def get_boto_file(place: Place) -> Callable[[], object]:
    boto = place.boto()
    boto.head_object(Bucket=place.bucket, Key=place.key)

    def get() -> None:
        with tempfile.NamedTemporaryFile() as copy:
            boto.download_file(place.bucket, place.key, copy.name)

    return get


UPLOADS = {
    "boto3 upload_file, defaults": put_boto_file,
    "boto3 put_object, one PUT": put_boto_object,
    "ours: one streamed PUT": put_ours,
}
DOWNLOADS = {
    "boto3 download_file, defaults": get_boto_file,
    "boto3 get_object, 1 MiB chunks": get_boto_object,
    "ours: streamed read": get_ours,
}
CASES = UPLOADS | DOWNLOADS


def main() -> None:
    options = read_options()
    with where(options) as place:
        size = Path(place.file).stat().st_size
        storage = place.storage()
        report(f"upload {size / 1e6:.0f} MB", measured(UPLOADS, place, options.rounds, forget=storage.delete), size)
        run("ours: one streamed PUT", place)
        report(f"download {size / 1e6:.0f} MB", measured(DOWNLOADS, place, options.rounds, forget=lambda _: None), size)
        for stored in storage.list("bench/"):
            storage.delete(stored.key)
        storage.close()


def measured(
    cases: dict[str, Any], place: Place, rounds: int, forget: Callable[[ObjectKey], None]
) -> dict[str, dict[str, float]]:
    """Run each case in turn, so that all meet the same machine; keep the fastest of each."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for name in cases:
            found = run(name, place)
            forget(ObjectKey(place.key))
            forget(ObjectKey(f"{place.key}-warm"))
            if name not in best or found["seconds"] < best[name]["seconds"]:
                best[name] = found
    return best


def run(name: str, place: Place) -> dict[str, float]:
    command = [sys.executable, __file__, "--case", name]
    given = json.dumps(attrs.asdict(place))
    done = subprocess.run(command, input=given, check=True, capture_output=True, text=True)  # noqa: S603 - itself
    found: dict[str, float] = json.loads(done.stdout)
    return found


def run_case(name: str) -> None:
    call = CASES[name](Place(**json.load(sys.stdin)))
    before, cpu, begun = peak_bytes(), time.process_time(), time.perf_counter()
    call()
    seconds = time.perf_counter() - begun
    found = {"seconds": seconds, "cpu": time.process_time() - cpu, "more": peak_bytes() - before}
    print(json.dumps(found))


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def report(title: str, found: dict[str, dict[str, float]], size: int) -> None:
    first = next(iter(found.values()))["seconds"]
    print(f"{title:34}    MB/s   × first   more RSS MiB   CPU s/GB")
    for name, each in found.items():
        print(
            f"  {name:32} {size / each['seconds'] / 1e6:7.0f} {first / each['seconds']:9.2f}"
            f" {each['more'] / 1024**2:14.1f} {each['cpu'] / size * 1e9:10.2f}"
        )
    print(flush=True)


# ── where ──


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--swift", "--endpoint", "--access-key", "--secret-key", "--bucket", "--case"):
        parser.add_argument(name)
    parser.add_argument("--region", default="auto")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not (options.swift or options.endpoint or options.case):
        parser.error("one of --swift and --endpoint is needed")
    return options


@contextmanager
def where(options: argparse.Namespace) -> Iterator[Place]:
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(options.megabytes):
            file.write(os.urandom(1_000_000))
        file.flush()
        if not options.swift:
            yield Place(
                options.endpoint, options.region, options.access_key, options.secret_key, options.bucket, file.name
            )
            return
        from musproj.testing.swift import SwiftServer

        with SwiftServer(Path(options.swift)) as swift:
            yield Place(swift.endpoint, swift.region, swift.access_key, swift.secret_key, swift.bucket, file.name)


if __name__ == "__main__":
    case = sys.argv[2] if sys.argv[1:2] == ["--case"] else None
    run_case(case) if case else main()
