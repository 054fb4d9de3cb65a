"""The HTTP application: FastAPI, with the one path that must be fast in front of its router."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from webhook.serving import mutate
from webhook.serving.metrics import Metrics

Problem = Callable[[], str | None]
"""Returns why the replica is not ready, or None."""


class WebhookApp(FastAPI):
    """FastAPI, except that reviews go straight to their endpoint: routing costs more than the review itself."""

    def __init__(self, *, mutate: ASGIApp) -> None:
        super().__init__(title="mlflow-webhook", docs_url=None, redoc_url=None, openapi_url=None)
        self._mutate = mutate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http" and scope["path"] == mutate.PATH:
            await self._mutate(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(*, mutate: ASGIApp, metrics: Metrics, problems: Mapping[str, Problem]) -> FastAPI:
    """Create the application. It is ready when none of `problems` returns a reason."""
    app = WebhookApp(mutate=mutate)
    metrics.ready.set_function(lambda: not any(problem() for problem in problems.values()))

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        found = {name: problem() for name, problem in problems.items()}
        ready = not any(found.values())
        checks = {name: text or "ok" for name, text in found.items()}
        return JSONResponse({"ready": ready, "checks": checks}, status_code=200 if ready else 503)

    @app.get("/metrics")
    async def render_metrics() -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app
