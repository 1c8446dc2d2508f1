"""What goes out as JSON, and how an error becomes an answer."""

from collections.abc import Mapping
from typing import Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from agent_sidecar import errors
from agent_sidecar.web.parts import Metrics

log = structlog.get_logger()

_STATUS: Final[dict[type[errors.SidecarError], int]] = {
    errors.RequestInvalid: 400,
    errors.RecordedCallInvalid: 400,
    errors.WebhookMalformed: 400,
    errors.SignatureInvalid: 401,
    errors.TokenInvalid: 401,
    errors.CallUnknown: 404,
    errors.TransferUnknown: 404,
    errors.CallEnded: 409,
    errors.RecordRejected: 422,
    errors.CommandRefused: 502,
    errors.CommandUncertain: 504,
    errors.StoreUnavailable: 503,
    errors.Overloaded: 503,
    errors.JournalFailed: 503,
    errors.EmbeddingFailed: 503,
}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


encode = msgspec.json.Encoder(enc_hook=_plain).encode


def answer(body: object, *, status: int = 200) -> web.Response:
    """Answer with JSON; dataclasses, times and read-only mappings included."""
    return web.Response(body=encode(body), status=status, content_type="application/json")


def refusal(exc: errors.SidecarError) -> web.Response:
    """Answer with what went wrong and, where we know it, what to do."""
    body: dict[str, object] = {"error": type(exc).__name__, "message": str(exc)}
    if isinstance(exc, errors.RequestInvalid):
        body |= {"field": exc.field, "what_to_do": exc.what_to_do}
    if isinstance(exc, errors.CommandRefused):
        body["code"] = exc.code
    status = next((s for kind, s in _STATUS.items() if isinstance(exc, kind)), 500)
    return answer(body, status=status)


def answer_errors(metrics: Metrics) -> Middleware:
    """Return the middleware that turns every error into JSON and lets no internals out."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except errors.SidecarError as exc:
            metrics.count("requests_refused", type(exc).__name__)
            return refusal(exc)
        except web.HTTPException as exc:
            return _http_refusal(request, exc)
        except Exception:  # the service must outlive any one request
            metrics.count("requests_failed")
            # the route's pattern, since a real path holds ids
            resource = request.match_info.route.resource
            log.exception("request_failed", route=resource.canonical if resource else None)
            return answer(
                {
                    "error": "InternalError",
                    "message": "this is a defect of the sidecar; its log says more",
                },
                status=500,
            )

    return middleware


def _http_refusal(request: web.Request, exc: web.HTTPException) -> web.Response:
    message = exc.text or exc.reason
    if message == f"{exc.status}: {exc.reason}":
        match exc.status:
            case 404:
                message = f"there is nothing at {request.path}; the README lists all routes"
            case 405:
                message = f"{request.method} is not for this path; use {exc.headers['Allow']}"
    response = answer({"error": exc.reason.replace(" ", ""), "message": message}, status=exc.status)
    for name in ("Allow", "WWW-Authenticate"):
        if name in exc.headers:
            response.headers[name] = exc.headers[name]
    return response
