"""musproj: uploads, versions and background processing of audio, as one typed library.

    from musproj import DEFAULT_OWNER, MusProj

    with MusProj.open() as mp:
        asset = mp.uploads.put_file(DEFAULT_OWNER, Path("take.wav"))

Importing this loads nothing but attrs and the standard library.
"""

from musproj._version import __version__
from musproj.application.assets import AssetView, Download
from musproj.application.jobs import InputRef, JobSpec
from musproj.application.uploads import ThenRequest, UploadSpec, UploadTicket
from musproj.composition import MusProj
from musproj.domain.asset import Asset, AssetStatus
from musproj.domain.ids import DEFAULT_OWNER, AssetId, JobId, Owner
from musproj.domain.job import Job, JobInput, JobStatus
from musproj.domain.version import Attachment, File, Provenance, Version
from musproj.errors import MusProjError
from musproj.ports.processor import AudioInfo, Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.settings import Settings

__all__ = [
    "DEFAULT_OWNER",
    "Asset",
    "AssetId",
    "AssetStatus",
    "AssetView",
    "Attachment",
    "AudioInfo",
    "Context",
    "Download",
    "File",
    "InputFile",
    "InputRef",
    "Job",
    "JobId",
    "JobInput",
    "JobSpec",
    "JobStatus",
    "MusProj",
    "MusProjError",
    "Outcome",
    "Owner",
    "Port",
    "Processor",
    "ProcessorSpec",
    "Provenance",
    "Settings",
    "ThenRequest",
    "UploadSpec",
    "UploadTicket",
    "Version",
    "__version__",
]
