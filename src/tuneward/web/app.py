"""The gateway's ASGI application.

Place on the road: ``workflows/gateway`` runs it under uvicorn. It loads no torch and knows no SQL; all it can do is
what the desk can do. FastAPI's own pages (docs, schema) are off: a gateway shows its routes and nothing else.
"""

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from tuneward.errors import TunewardError
from tuneward.web import openai
from tuneward.web.errors import http_error, no_route
from tuneward.web.middleware import BodyLimit, Envelope
from tuneward.workflows.answer import Desk


def create_app(desk: Desk) -> ASGIApp:
    """The application over one desk: ``/health`` and OpenAI's routes; everything else is 404 in OpenAI's shape."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.include_router(openai.routes(desk))
    app.add_exception_handler(TunewardError, _refused)
    app.add_exception_handler(HTTPException, _no_route)

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    return Envelope(BodyLimit(app, most_bytes=desk.config.max_body_bytes))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, TunewardError)
    return http_error(error).response()


async def _no_route(request: Request, error: Exception) -> Response:
    return no_route(request.method, request.url.path).response()
