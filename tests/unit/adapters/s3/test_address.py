"""What a storage URL says, and what it may not."""

import pytest

from musproj.adapters.s3.address import BucketAddress
from musproj.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "origin", "path", "region"),
    [
        ("r2://acc0/audio", "https://acc0.r2.cloudflarestorage.com", "/audio", "auto"),
        ("r2://acc0/audio/", "https://acc0.r2.cloudflarestorage.com", "/audio", "auto"),
        ("r2://acc0/audio?jurisdiction=eu", "https://acc0.eu.r2.cloudflarestorage.com", "/audio", "auto"),
        ("r2://acc0/audio?addressing=virtual", "https://audio.acc0.r2.cloudflarestorage.com", "", "auto"),
        ("s3://audio?endpoint=http://127.0.0.1:9000", "http://127.0.0.1:9000", "/audio", "auto"),
        ("s3://audio?endpoint=http%3A%2F%2F127.0.0.1%3A9000%2F", "http://127.0.0.1:9000", "/audio", "auto"),
        ("s3://audio?endpoint=https://S3.Example:443", "https://s3.example", "/audio", "auto"),
        ("s3://audio?endpoint=http://s3.example:80&region=x", "http://s3.example", "/audio", "x"),
        ("s3://audio?endpoint=http://[::1]:9000", "http://[::1]:9000", "/audio", "auto"),
        ("s3://audio?endpoint=https://h/storage/v1/s3", "https://h", "/storage/v1/s3/audio", "auto"),
        ("s3://audio?region=eu-central-1", "https://s3.eu-central-1.amazonaws.com", "/audio", "eu-central-1"),
        ("s3://a.B_c?region=x&addressing=path", "https://s3.x.amazonaws.com", "/a.B_c", "x"),
        ("s3://audio?region=x&addressing=virtual", "https://audio.s3.x.amazonaws.com", "", "x"),
    ],
)
def test_a_url_names_a_bucket(url: str, origin: str, path: str, region: str) -> None:
    address = BucketAddress.from_url(url)
    assert (address.origin, address.path, address.region) == (origin, path, region)
    assert f"{origin.partition('://')[0]}://{address.host}" == origin


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://audio", "neither an endpoint nor a region"),
        ("s3://?region=x", "no bucket"),
        ("s3://a?region=x", "no bucket"),
        ("s3://audio/prefix?region=x", "no bucket"),
        ("s3://audio?region=x&uploads=staged&colour=red", "'colour', 'uploads'"),
        ("s3://audio?region=x#part", "'#'"),
        ("s3://audio?region=x&region=y", "given twice"),
        ("s3://audio?region=", "empty"),
        ("s3://audio?region=a/b", "region"),
        ("s3://audio?region=x&addressing=dns", "'path' or 'virtual'"),
        ("s3://audio?endpoint=example.com", "no address of a server"),
        ("s3://audio?endpoint=ftp://example.com", "no address of a server"),
        ("s3://audio?endpoint=https://", "no address of a server"),
        ("s3://audio?endpoint=https://h:99999", "cannot be read"),
        ("s3://audio?endpoint=https://user:hunter2@h", "no address of a server"),
        ("s3://key:hunter2@audio?region=x", "no credentials"),
        ("s3://[audio", "cannot be read"),
        ("r2://audio", "no bucket"),
        ("r2:///audio", "no account"),
        ("r2://a.b/audio", "no account"),
        ("r2://acc0/audio/more", "no bucket"),
        ("r2://acc0/audio?jurisdiction=moon", "eu, fedramp"),
        ("r2://acc0/audio?endpoint=https://h", "'endpoint'"),
    ],
)
def test_a_wrong_url_is_told_without_its_values(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        BucketAddress.from_url(url)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
