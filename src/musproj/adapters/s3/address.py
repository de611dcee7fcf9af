"""Where a bucket is: what `s3://<bucket>?…` and `r2://<account>/<bucket>` say.

endpoint       s3: URL of the store; without it, Amazon's of the region
region         s3: `auto` where an endpoint is given, as R2 has it; else to be named
addressing     `path` (default): the bucket is the first part of the path; `virtual`: of the host name
jurisdiction   r2: `eu` or `fedramp`, where the bucket was made in one
"""

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, urlsplit

import attrs

from musproj.errors import ConfigurationError

_OPTIONS = {"s3": ("endpoint", "region", "addressing"), "r2": ("jurisdiction", "addressing")}
_FORMS = {
    "s3": "s3://<bucket>?endpoint=<url>&region=auto",
    "r2": "r2://<account>/<bucket>",
}
_JURISDICTIONS = ("eu", "fedramp")
"""R2 docs, data location: each has a host of its own."""
_DEFAULT_PORTS = {"http": 80, "https": 443}

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
"""With the capitals and underscores that old buckets have."""
_LABEL = re.compile(r"[A-Za-z0-9-]{1,63}")


@attrs.frozen(kw_only=True)
class BucketAddress:
    """One bucket, as the first line of a request and its Host header name it."""

    bucket: str
    region: str
    endpoint: str
    """URL of the store, without a trailing slash."""
    is_virtual: bool
    """The bucket is part of the host name, not of the path."""
    origin: str
    """Scheme and authority of the bucket's URLs."""
    host: str
    """As a Host header has it: the port only where it is not the scheme's own."""
    path: str
    """What comes before the slash of a key."""

    @classmethod
    def from_url(cls, url: str) -> "BucketAddress":
        """Read a storage setting.

        Raises:
            ConfigurationError: it is wrong; the text names the place and no value, which might be a secret.
        """
        try:
            parts = urlsplit(url)
        except ValueError as exc:
            raise ConfigurationError(f"The storage URL cannot be read: {exc}.") from exc
        form = _FORMS[parts.scheme]
        if "@" in parts.netloc:
            raise ConfigurationError(
                "A storage URL carries no credentials.",
                hint="Give them as MUSPROJ_S3_ACCESS_KEY_ID and MUSPROJ_S3_SECRET_ACCESS_KEY.",
            )
        options = _options(parts)
        if parts.scheme == "r2":
            account, _, bucket = (parts.netloc + parts.path).partition("/")
            return _address(bucket.rstrip("/"), "auto", _r2_endpoint(account, options), options, form)
        bucket = parts.netloc + parts.path.rstrip("/")
        region, endpoint = _s3_place(options)
        return _address(bucket, region, endpoint, options, form)


def _options(parts: SplitResult) -> Mapping[str, str]:
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    known = _OPTIONS[parts.scheme]
    unknown = sorted({name for name, _ in pairs} - set(known))
    if unknown or parts.fragment:
        told = ", ".join(repr(name) for name in unknown) or "'#'"
        raise ConfigurationError(
            f"The storage URL has options that are not known: {told}.", hint=f"Known are {', '.join(known)}."
        )
    options = dict(pairs)
    if len(options) != len(pairs) or not all(options.values()):
        raise ConfigurationError("An option of the storage URL is empty or given twice.")
    return options


def _s3_place(options: Mapping[str, str]) -> tuple[str, str]:
    region = options.get("region", "auto")
    if _LABEL.fullmatch(region) is None:
        raise ConfigurationError("The region of the storage URL is none.", hint="Write it like eu-central-1, or auto.")
    endpoint = options.get("endpoint")
    if endpoint is None and region == "auto":
        raise ConfigurationError(
            "The storage URL names neither an endpoint nor a region.", hint=f"Write it like {_FORMS['s3']}."
        )
    return region, endpoint or f"https://s3.{region}.amazonaws.com"


def _r2_endpoint(account: str, options: Mapping[str, str]) -> str:
    if _LABEL.fullmatch(account) is None:
        raise ConfigurationError("The storage URL names no account.", hint=f"Write it like {_FORMS['r2']}.")
    jurisdiction = options.get("jurisdiction")
    if jurisdiction is None:
        return f"https://{account}.r2.cloudflarestorage.com"
    if jurisdiction not in _JURISDICTIONS:
        raise ConfigurationError(f"The jurisdiction of a bucket is one of {', '.join(_JURISDICTIONS)}, or left out.")
    return f"https://{account}.{jurisdiction}.r2.cloudflarestorage.com"


def _address(bucket: str, region: str, endpoint: str, options: Mapping[str, str], form: str) -> BucketAddress:
    if _BUCKET.fullmatch(bucket) is None:
        raise ConfigurationError("The storage URL names no bucket.", hint=f"Write it like {form}.")
    addressing = options.get("addressing", "path")
    if addressing not in ("path", "virtual"):
        raise ConfigurationError("The addressing of a bucket is 'path' or 'virtual'.")
    is_virtual = addressing == "virtual"
    scheme, host, path = _read_endpoint(endpoint)
    if is_virtual:
        host = f"{bucket}.{host}"
    return BucketAddress(
        bucket=bucket,
        region=region,
        endpoint=endpoint.rstrip("/"),
        is_virtual=is_virtual,
        origin=f"{scheme}://{host}",
        host=host,
        path=path if is_virtual else f"{path}/{bucket}",
    )


def _read_endpoint(endpoint: str) -> tuple[str, str, str]:
    """Return scheme, authority and path, the latter without a trailing slash."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as exc:
        raise ConfigurationError("The endpoint of the storage URL cannot be read.") from exc
    is_plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or not is_plain:
        raise ConfigurationError(
            "The endpoint of the storage URL is no address of a server.",
            hint="Write it like https://host or http://127.0.0.1:9000, without credentials.",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port not in (None, _DEFAULT_PORTS[parts.scheme]):
        host = f"{host}:{port}"
    return parts.scheme, host, parts.path.rstrip("/")
