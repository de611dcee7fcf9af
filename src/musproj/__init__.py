"""musproj: uploads, versions and background processing of audio, as one typed library.

    from musproj import DEFAULT_OWNER, MusProj

    with MusProj.open() as mp:
        asset = mp.uploads.put_file(DEFAULT_OWNER, Path("take.wav"))

Importing this loads nothing: each name is imported when it is first used (PEP 562), because making the records'
classes costs ten times as much as starting Python, and the command line needs none of them to show its help.
"""

import typing

from musproj._version import __version__

if typing.TYPE_CHECKING:
    from musproj.application.assets import AssetView, Download
    from musproj.application.jobs import InputRef, JobSpec
    from musproj.application.uploads import UploadSpec, UploadTicket
    from musproj.application.uploads_multipart import ReceivedParts, SignedParts
    from musproj.application.uploads_then import ThenRequest
    from musproj.composition import MusProj
    from musproj.domain.asset import Asset, AssetStatus
    from musproj.domain.ids import DEFAULT_OWNER, AssetId, JobId, Owner
    from musproj.domain.job import Job, JobError, JobInput, JobStatus
    from musproj.domain.version import Attachment, File, Provenance, Version
    from musproj.errors import MusProjError
    from musproj.ports.assets import AssetFilter, Idempotency, Page
    from musproj.ports.jobs import JobFilter
    from musproj.ports.processor import AudioInfo, Context, InputFile, Outcome, Port, Processor, ProcessorSpec
    from musproj.ports.storage import SignedRequest
    from musproj.settings import Settings
else:
    import importlib

    _HOMES = {
        "Asset": "musproj.domain.asset",
        "AssetFilter": "musproj.ports.assets",
        "AssetId": "musproj.domain.ids",
        "AssetStatus": "musproj.domain.asset",
        "AssetView": "musproj.application.assets",
        "Attachment": "musproj.domain.version",
        "AudioInfo": "musproj.ports.processor",
        "Context": "musproj.ports.processor",
        "DEFAULT_OWNER": "musproj.domain.ids",
        "Download": "musproj.application.assets",
        "File": "musproj.domain.version",
        "Idempotency": "musproj.ports.assets",
        "InputFile": "musproj.ports.processor",
        "InputRef": "musproj.application.jobs",
        "Job": "musproj.domain.job",
        "JobError": "musproj.domain.job",
        "JobFilter": "musproj.ports.jobs",
        "JobId": "musproj.domain.ids",
        "JobInput": "musproj.domain.job",
        "JobSpec": "musproj.application.jobs",
        "JobStatus": "musproj.domain.job",
        "MusProj": "musproj.composition",
        "MusProjError": "musproj.errors",
        "Outcome": "musproj.ports.processor",
        "Owner": "musproj.domain.ids",
        "Page": "musproj.ports.assets",
        "Port": "musproj.ports.processor",
        "Processor": "musproj.ports.processor",
        "ProcessorSpec": "musproj.ports.processor",
        "Provenance": "musproj.domain.version",
        "ReceivedParts": "musproj.application.uploads_multipart",
        "Settings": "musproj.settings",
        "SignedParts": "musproj.application.uploads_multipart",
        "SignedRequest": "musproj.ports.storage",
        "ThenRequest": "musproj.application.uploads_then",
        "UploadSpec": "musproj.application.uploads",
        "UploadTicket": "musproj.application.uploads",
        "Version": "musproj.domain.version",
    }

    def __getattr__(name: str) -> object:
        """Import a public name on its first use."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return found


__all__ = [
    "DEFAULT_OWNER",
    "Asset",
    "AssetFilter",
    "AssetId",
    "AssetStatus",
    "AssetView",
    "Attachment",
    "AudioInfo",
    "Context",
    "Download",
    "File",
    "Idempotency",
    "InputFile",
    "InputRef",
    "Job",
    "JobError",
    "JobFilter",
    "JobId",
    "JobInput",
    "JobSpec",
    "JobStatus",
    "MusProj",
    "MusProjError",
    "Outcome",
    "Owner",
    "Page",
    "Port",
    "Processor",
    "ProcessorSpec",
    "Provenance",
    "ReceivedParts",
    "Settings",
    "SignedParts",
    "SignedRequest",
    "ThenRequest",
    "UploadSpec",
    "UploadTicket",
    "Version",
    "__version__",
]
