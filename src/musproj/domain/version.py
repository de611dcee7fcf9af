"""What is published and never changed again: versions, their files, attachments, provenance."""

from collections.abc import Mapping
from datetime import datetime

import attrs
from attrs.validators import deep_iterable, ge, instance_of, matches_re, min_len, optional

from musproj.domain.canonical import digest
from musproj.domain.ids import AssetId, JobId
from musproj.domain.keys import ObjectKey
from musproj.domain.times import aware
from musproj.errors import FileNotFoundInVersionError

SHA256_HEX = r"[0-9a-f]{64}"


@attrs.frozen(kw_only=True)
class File:
    """One audio file or attachment of a version."""

    name: str
    kind: str
    object_key: ObjectKey
    size_bytes: int = attrs.field(validator=ge(0))
    sha256: str = attrs.field(validator=matches_re(SHA256_HEX))
    etag: str
    """Strong entity tag of the object, without quotes; reads are pinned by it."""
    content_type: str
    duration: float | None = attrs.field(default=None, validator=optional(ge(0.0)))
    """Seconds; None where no decoder could tell."""
    sample_rate: int | None = None
    """Hz."""
    channels: int | None = None


@attrs.frozen(kw_only=True)
class ProvenanceInput:
    """One input that a version was made from."""

    port: str
    asset_id: AssetId
    version: int
    file: str
    sha256: str


@attrs.frozen(kw_only=True)
class ProvenanceStep:
    """One processor of a chain."""

    processor: str
    processor_version: str
    params: Mapping[str, object]
    """Canonical: every default filled in."""


@attrs.frozen(kw_only=True)
class ProvenanceModel:
    """A model file that took part."""

    name: str
    sha256: str


@attrs.frozen(kw_only=True)
class Provenance:
    """What is needed to make a version again, and to know that it need not be made again."""

    job_id: JobId
    processor: str
    processor_version: str
    params: Mapping[str, object]
    """Canonical: every default filled in."""
    inputs: tuple[ProvenanceInput, ...]
    libraries: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Library → version, of those that took part; with them `python` and `machine`."""
    steps: tuple[ProvenanceStep, ...] | None = None
    """Of a chain, in order."""
    models: tuple[ProvenanceModel, ...] | None = None

    @property
    def params_hash(self) -> str:
        """sha256 of the canonical params, base64url."""
        return digest(self.params)

    @property
    def reuse_key(self) -> str:
        """What two versions share that need not both be made."""
        inputs = sorted((i.port, i.sha256) for i in self.inputs)
        models = [model.sha256 for model in self.models or ()]
        return digest([inputs, f"{self.processor}@{self.processor_version}", self.params, *models])


@attrs.frozen(kw_only=True)
class Version:
    """One immutable state of an asset; the first file is the primary one."""

    number: int = attrs.field(validator=ge(1))
    kind: str
    files: tuple[File, ...] = attrs.field(validator=[min_len(1), deep_iterable(instance_of(File))])
    created_at: datetime = attrs.field(validator=aware)
    from_version: int | None = None
    provenance: Provenance | None = None

    @property
    def primary(self) -> File:
        """The file that stands for the version."""
        return self.files[0]

    def file(self, name: str | None) -> File:
        """Return the file of that name, the primary one where `name` is None.

        Raises:
            FileNotFoundInVersionError: there is none.
        """
        for candidate in self.files:
            if name is None or candidate.name == name:
                return candidate
        names = ", ".join(f.name for f in self.files)
        raise FileNotFoundInVersionError(f"Version {self.number} has no file {name!r}; it has: {names}.", file=name)


@attrs.frozen(kw_only=True)
class Attachment:
    """A file beside a version (peaks, a picture); the latest of a name replaces the one before."""

    version: int
    file: File
    job_id: JobId
    created_at: datetime = attrs.field(validator=aware)
    provenance: Provenance
