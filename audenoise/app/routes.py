"""The server as an ASGI application: a page, and what its script asks for.

    GET    /                          the page, and /static/… beside it
    GET    /api/settings              models, enhancer and limits
    POST   /api/jobs?name=…           a recording as the body; answers with its key
    GET    /api/jobs/KEY              how far it is
    DELETE /api/jobs/KEY              cancel it, remove its files
    GET    /api/jobs/KEY/audio        a piece of before and after, to be played
    GET    /api/jobs/KEY/picture      spectrograms before and after, and the difference
    GET    /api/jobs/KEY/result       the recording, denoised and enhanced as asked
    GET    /api/zip?key=…&key=…       several of them

Every error is JSON of one sentence, `{"error": …}`.
"""

import asyncio
import math
import sys
import traceback
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from audenoise.audio import can_read_media
from audenoise.presets import Preset

from .guard import Guard
from .jobs import DONE, FAILED, Busy, Job, JobStore
from .names import safe_name, unique_names
from .settings import AppSettings
from .work import PICTURE, Workshop, heard_segment
from .zipping import zip_stream

_STATIC = {
    "index.html": "text/html",
    "app.css": "text/css",
    "app.js": "text/javascript",
    "player.js": "text/javascript",
    "recorder.js": "text/javascript",
    "recorder-worklet.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_SILENCE_S = 60.0
"""An upload that brings nothing for so long has been given up."""
_EXPIRE_EVERY_S = 20.0


def create_app(settings: AppSettings, folder: Path, *, hosts: Collection[str] | None = None) -> Starlette:
    """Make the application.

    Parameters
    ----------
    settings : AppSettings
    folder : Path
        Empty; for uploads and results. Removed when the application ends.
    hosts : collection of str, optional
        As for `Guard`.
    """
    store = JobStore(settings, folder, Workshop(settings), report=_report)
    # Read once: no request is ever turned into a path.
    pages = {name: files("audenoise.app").joinpath("page", name).read_bytes() for name in _STATIC}
    handlers = _Handlers(settings, store, pages)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        expiring = asyncio.create_task(_expire(store))
        try:
            yield
        finally:
            expiring.cancel()
            await run_in_threadpool(store.close)

    routes = [
        Route("/", handlers.static),
        Route("/static/{name}", handlers.static),
        Route("/api/settings", handlers.settings),
        Route("/api/jobs", handlers.upload, methods=["POST"]),
        Route("/api/jobs/{key}", handlers.status, methods=["GET"]),
        Route("/api/jobs/{key}", handlers.remove, methods=["DELETE"]),
        Route("/api/jobs/{key}/audio", handlers.audio),
        Route("/api/jobs/{key}/picture", handlers.picture),
        Route("/api/jobs/{key}/result", handlers.result),
        Route("/api/zip", handlers.zip),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


class _Handlers:
    def __init__(self, settings: AppSettings, store: JobStore, pages: dict[str, bytes]) -> None:
        self._settings, self._store, self._pages = settings, store, pages

    async def static(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in self._pages:
            raise HTTPException(404, "There is no such page.")
        return Response(self._pages[name], media_type=_STATIC[name])

    async def settings(self, _request: Request) -> Response:
        settings = self._settings
        enhancer = settings.enhancer
        return JSONResponse(
            {
                "models": [_about(name, preset) for name, preset in settings.models.items()],
                "enhancer": enhancer and _about(enhancer.name, enhancer),
                "max_upload_bytes": settings.max_bytes,
                "max_minutes": settings.max_minutes,
                "max_files": settings.max_files,
                "keep_minutes": settings.keep_minutes,
                "media": can_read_media(),
            }
        )

    async def upload(self, request: Request) -> Response:
        query = request.query_params
        model = query.get("model", next(iter(self._settings.models)))
        if model not in self._settings.models:
            raise HTTPException(400, "There is no such model here.")
        limit = query.get("max_attenuation_db", "")
        strength = _number("strength", query.get("strength", "1"), high=1.0)
        limit_db = _number("max_attenuation_db", limit, high=1000.0) if limit else None
        enhance = _number("enhance", query.get("enhance", "0"), high=1.0)
        if enhance > 0 and self._settings.enhancer is None:
            raise HTTPException(400, "There is no enhancer here.")
        if int(request.headers.get("content-length") or 0) > self._settings.max_bytes:
            raise HTTPException(413, self._too_large())
        try:
            job = self._store.open(
                safe_name(query.get("name", "")),
                model,
                strength=strength,
                max_attenuation_db=limit_db,
                enhance=enhance,
                narrow="narrow" in query,
            )
        except Busy as error:
            raise HTTPException(503, str(error)) from error
        try:
            await self._receive(request, job)
        except BaseException:
            self._store.remove(job.key)
            raise
        self._store.submit(job)
        return JSONResponse({"key": job.key}, status_code=201)

    async def _receive(self, request: Request, job: Job) -> None:
        received, limit = 0, self._settings.max_bytes
        chunks = aiter(request.stream())
        try:
            with job.upload.open("xb") as file:
                while True:
                    async with asyncio.timeout(_SILENCE_S):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    received += len(chunk)
                    # A browser reads the answer only when it has sent everything: so read on, for a while.
                    if received > 2 * limit:
                        break
                    if received <= limit:
                        await run_in_threadpool(file.write, chunk)
        except ClientDisconnect:
            raise HTTPException(400, "The upload was broken off.") from None
        except TimeoutError:
            raise HTTPException(408, "The upload stopped half-way. Try again.") from None
        except OSError:
            raise HTTPException(507, "The server has no room left for this recording. Try later.") from None
        if received > limit:
            raise HTTPException(413, self._too_large())

    async def status(self, request: Request) -> Response:
        job = self._find(request)
        answer = {
            "state": job.state,
            "stage": job.stage,
            "progress": round(job.progress, 4),
            "name": job.name,
        }
        if job.state == FAILED:
            answer["error"] = job.error
        else:
            answer |= {key: value for key, value in job.facts.items() if key not in ("result", "heard")}
            answer["ahead"] = 0 if job.state == DONE else self._store.ahead(job)
        return JSONResponse(answer)

    async def remove(self, request: Request) -> Response:
        await run_in_threadpool(self._store.remove, request.path_params["key"])
        return Response(status_code=204)

    async def audio(self, request: Request) -> Response:
        job = self._ready(request)
        try:
            start, count = int(request.query_params["start"]), int(request.query_params["count"])
        except (KeyError, ValueError):
            raise HTTPException(400, "start and count must be whole numbers of samples.") from None
        content = await run_in_threadpool(heard_segment, job, start, count)
        return Response(content, media_type="application/octet-stream")

    async def picture(self, request: Request) -> Response:
        job = self._ready(request)
        if "panels" not in job.facts:
            raise HTTPException(409, "The picture is not ready yet.")
        return FileResponse(job.folder / PICTURE, media_type="image/png")

    async def result(self, request: Request) -> Response:
        job = self._ready(request)
        headers = {"content-disposition": _attachment(job.facts["result_name"])}
        return FileResponse(
            job.folder / job.facts["result"], media_type="application/octet-stream", headers=headers
        )

    async def zip(self, request: Request) -> Response:
        keys = list(dict.fromkeys(request.query_params.getlist("key")))
        if not 1 <= len(keys) <= self._settings.max_files:
            raise HTTPException(400, f"A zip holds 1 to {self._settings.max_files} recordings.")
        jobs = [self._store.find(key) for key in keys]
        done = [job for job in jobs if job is not None and job.facts and job.state != FAILED]
        if len(done) < len(keys):
            raise HTTPException(404, self._gone())
        names = unique_names(job.facts["result_name"] for job in done)
        members = [(job.folder / job.facts["result"], name) for job, name in zip(done, names, strict=True)]
        headers = {"content-disposition": _attachment("denoised.zip")}
        return StreamingResponse(zip_stream(members), media_type="application/zip", headers=headers)

    def _find(self, request: Request) -> Job:
        job = self._store.find(request.path_params["key"])
        if job is None:
            raise HTTPException(404, self._gone())
        return job

    def _ready(self, request: Request) -> Job:
        job = self._find(request)
        if not job.facts or job.state == FAILED:
            raise HTTPException(409, job.error or "This recording is not ready yet.")
        return job

    def _gone(self) -> str:
        return (
            "This recording is no longer here: it is removed when nobody has asked for it for "
            f"{self._settings.keep_minutes:g} minutes. Denoise it again."
        )

    def _too_large(self) -> str:
        return f"The recording is larger than {self._settings.max_upload_mb:g} MB, which is the limit here."


def _about(name: str, preset: Preset) -> dict[str, object]:
    return {"name": name, "description": preset.description, "sample_rate": preset.sample_rate}


def _number(name: str, text: str, *, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= high:
        raise HTTPException(400, f"{name} must be a number from 0 to {high:g}.")
    return value


def _attachment(name: str) -> str:
    plain = "".join(
        each if each.isascii() and each.isprintable() and each not in '"\\' else "_" for each in name
    )
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _refused(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = error.detail if isinstance(error, HTTPException) else ""
    # Some are Starlette's own: "Not Found", "Method Not Allowed".
    return JSONResponse({"error": text if text.endswith(".") else f"{text}."}, status_code=status)


async def _failed(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "Something went wrong on the server."}, status_code=500)


async def _expire(store: JobStore) -> None:
    while True:
        await asyncio.sleep(_EXPIRE_EVERY_S)
        await run_in_threadpool(store.expire)


def _report(error: BaseException) -> None:
    print("audenoise: " + "".join(traceback.format_exception(error)), file=sys.stderr, end="")
