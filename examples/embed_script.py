"""Embed musproj in a plain script: upload a file, enhance it, save the result.

    python examples/embed_script.py take.wav enhanced.wav

It needs `pip install 'musproj[audio]'`, and `musproj work` (or `musproj serve`) running in the same folder: the
script submits, a worker does the work. Both find each other through the data folder.
"""

import sys
from pathlib import Path

from musproj import DEFAULT_OWNER, InputRef, JobSpec, JobStatus, MusProj


def enhance(source: Path, target: Path) -> None:
    with MusProj.open() as mp:
        asset = mp.uploads.put_file(DEFAULT_OWNER, source)
        print(f"{asset.asset_id} is {asset.status}")

        spec = JobSpec(type="enhance", inputs={"input": InputRef(asset_id=asset.asset_id)}, params={"targetLufs": -16})
        job_id = mp.jobs.submit(DEFAULT_OWNER, spec).job.job_id
        for job in mp.jobs.watch(DEFAULT_OWNER, job_id, timeout=600):
            print(f"{job.status} {job.progress} % {job.stage or ''}")
        if job.status is not JobStatus.SUCCEEDED:
            sys.exit(f"{job.error}")

        _, file, _ = mp.assets.find_file(DEFAULT_OWNER, asset.asset_id, job.created_version)
        with target.open("wb") as copy:
            copy.writelines(mp.opened_storage.storage.read(file.object_key, etag=file.etag))
        print(f"{target}: {file.duration:.1f} s, {file.size_bytes} bytes")


if __name__ == "__main__":
    enhance(Path(sys.argv[1]), Path(sys.argv[2]))
