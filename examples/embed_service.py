"""Embed musproj in a web service of your own: your routes, your users, its engine.

    export MUSPROJ_PUBLIC_URL=http://127.0.0.1:8000/audio
    uvicorn --factory examples.embed_service:make_app

The service decides who the caller is and hands that on as the owner; an id of another owner is an unknown id.
musproj's own API hangs below `/audio`, and `MUSPROJ_PUBLIC_URL` says so: signed URLs of the embedded store lead there.
"""

import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from musproj import AssetId, InputRef, JobSpec, MusProj, MusProjError, Owner, Settings, ThenRequest, UploadSpec
from musproj.http.app import create_app
from musproj.http.problems import status_of


def owner_of(request: Request) -> Owner:
    """Your authentication: a session, a token; here just a header."""
    return Owner(request.headers.get("x-user", "anonymous"))


async def start_recording(request: Request) -> JSONResponse:
    """Hand out an upload URL; the recording is enhanced as soon as it has arrived."""
    spec = UploadSpec(filename="take.wav", then=(ThenRequest(type="enhance"),))
    ticket = await run_in_threadpool(request.app.state.mp.uploads.request, owner_of(request), spec)
    return JSONResponse(
        {"recording": ticket.asset.asset_id, "put": ticket.signed.url, "headers": dict(ticket.signed.headers)}
    )


async def finish_recording(request: Request) -> JSONResponse:
    asset_id = AssetId(request.path_params["asset_id"])
    asset = await run_in_threadpool(request.app.state.mp.uploads.confirm, owner_of(request), asset_id)
    return JSONResponse({"recording": asset.asset_id, "status": asset.status})


async def analyze_recording(request: Request) -> JSONResponse:
    asset_id = AssetId(request.path_params["asset_id"])
    spec = JobSpec(type="analyze", inputs={"input": InputRef(asset_id=asset_id)})
    answer = await run_in_threadpool(request.app.state.mp.jobs.submit, owner_of(request), spec)
    return JSONResponse({"job": answer.job.job_id}, status_code=202)


async def explain(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MusProjError)
    return JSONResponse({"error": error.code, "why": error.message}, status_code=status_of(error.code))


def make_app(settings: Settings | None = None) -> Starlette:
    mp = MusProj.open(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.mp = mp
        with mp:
            yield

    return Starlette(
        routes=[
            Route("/recordings", start_recording, methods=["POST"]),
            Route("/recordings/{asset_id}/done", finish_recording, methods=["POST"]),
            Route("/recordings/{asset_id}/analyze", analyze_recording, methods=["POST"]),
            Mount("/audio", create_app(mp)),
        ],
        exception_handlers={MusProjError: explain},
        lifespan=lifespan,
    )
