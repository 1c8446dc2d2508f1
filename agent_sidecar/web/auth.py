"""Who may use the API: one token for every `/v1` route and socket, when one is set."""

import hmac
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from agent_sidecar.web.parts import Metrics


def bearer(request: web.Request) -> str | None:
    """Return the token of the Authorization header; some send it without the word Bearer."""
    value = request.headers.get(hdrs.AUTHORIZATION, "").strip()
    scheme, _, token = value.partition(" ")
    return (token.strip() if scheme.lower() == "bearer" else value) or None


def check_token(api_token: str | None, public_url: str | None, metrics: Metrics) -> Middleware:
    """Return the middleware in front of `/v1`."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _is_api(request):
            if api_token is None:
                if not _is_from_here(request, public_url):
                    metrics.count("requests_refused", "origin")
                    raise web.HTTPForbidden(
                        text="without an API token only this machine may use this API, and no"
                        " web page of another origin: set SIDECAR_API_TOKEN and give it"
                    )
            elif not _has_token(request, api_token):
                metrics.count("requests_refused", "api_token")
                raise web.HTTPUnauthorized(
                    text="give the API token (SIDECAR_API_TOKEN) as `Authorization: Bearer …`;"
                    " sockets may give it as ?token=",
                    headers={hdrs.WWW_AUTHENTICATE: "Bearer"},
                )
        return await handler(request)

    return middleware


def _is_api(request: web.Request) -> bool:
    # the route that was found, whatever the path looked like before it was decoded
    resource = request.match_info.route.resource
    return request.path.startswith("/v1") or (
        resource is not None and resource.canonical.startswith("/v1")
    )


def _has_token(request: web.Request, api_token: str) -> bool:
    given = bearer(request)
    if given is None and request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        # browsers cannot set headers on sockets
        given = request.query.get("token")
    if given is None:
        return False
    return hmac.compare_digest(
        given.encode(errors="surrogatepass"), api_token.encode(errors="surrogatepass")
    )


def _is_from_here(request: web.Request, public_url: str | None) -> bool:
    """Without a token, any page that a browser on this machine shows could reach a loopback port.

    Browsers name the page's origin on sockets and on requests that change something; programs do
    not. The host that is asked for must be this machine, or a name that leads here would do.
    """
    public = urlsplit(public_url).netloc if public_url else None
    if request.host != public and not _is_loopback(request.host):
        return False
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is None or urlsplit(origin).netloc in {request.host, public}


def _is_loopback(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
