"""The service's HTTP interface as its callers see it."""

from collections.abc import Collection, Mapping, Sequence
from io import BytesIO
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit

import aiohttp
import msgspec
from msgspec import Struct

from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.types import LegId
from agent_sidecar.errors import CallUnknown, ServiceRefused, ServiceUnreachable

_Shape = TypeVar("_Shape")

_ANSWER_S = 30.0
# a batch of calls whose words are embedded while others wait before it
_IMPORT_S = 600.0
# every place is looked through
_FORGET_S = 3600.0
_LARGE = 512 * 1024
_EXCERPT = 300


class Attached(Struct):
    """What `attach` answers: our call, and where its audio is let in."""

    call_id: str
    call_control_id: str | None = None
    token: str | None = None
    stream_url: str | None = None

    @property
    def media_url(self) -> str | None:
        """The stream's URL with the token that opens it."""
        if self.stream_url is None or self.token is None:
            return self.stream_url
        url = urlsplit(self.stream_url)
        if "token" in parse_qs(url.query):
            return self.stream_url
        query = "&".join(part for part in (url.query, urlencode({"token": self.token})) if part)
        return urlunsplit(url._replace(query=query))


class CallView(Struct):
    """What a replay wants to know of `GET /v1/calls/{id}`."""

    call_id: str
    stores: dict[str, str] = {}
    final_status: str | None = None
    outcome: Any = None

    @property
    def status(self) -> str | None:
        """The final status, wherever the document has it."""
        if self.final_status is None and isinstance(self.outcome, dict):
            return self.outcome.get("final_status")
        return self.final_status


class Verification(Struct):
    """What `GET /v1/verify` answers."""

    clean: bool
    summary: list[Any] = []
    differences: list[Any] = []


class _Stores(Struct):
    stores: list[dict[str, Any]]


class _Imported(Struct):
    imported: bool


class _ImportedAll(Struct):
    imported: int


class _Deliveries(Struct):
    deliveries: list[dict[str, Any]]


class _Retried(Struct):
    retried: int


class _Refusal(Struct):
    message: str
    what_to_do: str = ""


# a comparison of all stores, or what mends them
_LONG_S = 600.0


class FrontDoor:
    """A client of one running service; open it with `async with`."""

    def __init__(self, base_url: str, api_token: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._api_token = api_token
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # one socket per call at most; the default limit of 100 would make calls wait for calls
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def hints_url(self) -> str:
        """Where all calls' messages come from."""
        return "ws" + self.base_url.removeprefix("http") + "/v1/hints"

    @property
    def webhook_url(self) -> str:
        return self.base_url + "/telnyx/webhooks"

    @property
    def authorization(self) -> dict[str, str]:
        """The header that every `/v1` route wants when an API token is set."""
        return {"Authorization": f"Bearer {self._api_token}"} if self._api_token else {}

    async def post_webhook(
        self, body: bytes, headers: Mapping[str, str], *, answer_s: float
    ) -> int:
        """Return the HTTP status. Raises `ServiceUnreachable` when there is none in time."""
        status, _ = await self._request(
            "POST", self.webhook_url, data=body, headers=dict(headers), answer_s=answer_s
        )
        return status

    async def attach(self, leg_id: LegId, body: Mapping[str, object]) -> Attached:
        """Announce a call. Raises `ServiceUnreachable` or `ServiceRefused`."""
        raw = await self._ask("POST", f"/v1/calls/{quote(leg_id, safe='')}/attach", body)
        return self._read(raw, Attached, "attach")

    async def call(self, call_id: str) -> CallView:
        """Raise `CallUnknown`, `ServiceUnreachable` or `ServiceRefused`."""
        raw = await self._ask("GET", f"/v1/calls/{quote(call_id, safe='')}")
        return self._read(raw, CallView, "the call")

    async def post_result(self, transfer_id: str, said: Mapping[str, object]) -> dict[str, Any]:
        """Say what came of a transfer; return the transfer. Raises `CallUnknown`."""
        path = f"/v1/transfers/{quote(transfer_id, safe='')}/result"
        return self._read(await self._ask("POST", path, said), dict[str, Any], "the result")

    async def retain(self, *, dry_run: bool) -> dict[str, Any]:
        """Archive what was kept for long enough; return what was done."""
        body = {"dry_run": dry_run}
        raw = await self._ask("POST", "/v1/retention", body, answer_s=_FORGET_S)
        return self._read(raw, dict[str, Any], "the calls that were archived")

    async def erase(self, name: str) -> dict[str, Any]:
        """Erase a lead, by id or number; return how far it is."""
        path = f"/v1/leads/{quote(name, safe='')}/erase"
        raw = await self._ask("POST", path, answer_s=_FORGET_S)
        return self._read(raw, dict[str, Any], "the erasure")

    async def stores(self) -> list[dict[str, Any]]:
        """Return what the service says of each store."""
        raw = await self._ask("GET", "/v1/stores")
        return self._read(raw, _Stores, "the stores").stores

    async def insights(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return what the stores know of a kind of lead."""
        raw = await self._ask("GET", f"/v1/insights?{urlencode(query)}")
        return self._read(raw, dict[str, Any], "the insights")

    async def availability(
        self, method: str = "GET", path: str = "", body: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """Show the closers, or change what is at a path below; return what is so now."""
        raw = await self._ask(method, f"/v1/availability{path}", body)
        return self._read(raw, dict[str, Any], "the availability")

    async def take_in(self, call: RecordedCall, strategies: Collection[str] = ()) -> bool:
        """Import a finished call; False when the service knew it already."""
        body = {"call": call, "strategies": sorted(strategies)}
        raw = await self._ask("POST", "/v1/import", body)
        return self._read(raw, _Imported, "the import").imported

    async def take_in_all(
        self, calls: Sequence[RecordedCall], strategies: Collection[str] = ()
    ) -> int:
        """Import finished calls; return how many of them the service did not know."""
        body = {"calls": calls, "strategies": sorted(strategies)}
        raw = await self._ask("POST", "/v1/import", body, answer_s=_IMPORT_S)
        return self._read(raw, _ImportedAll, "the import").imported

    async def deliveries(
        self, *, store: str | None, states: Collection[str], limit: int
    ) -> list[dict[str, Any]]:
        """Return deliveries in one of these states, oldest record first."""
        asked = [("limit", str(limit)), *(("state", state) for state in states)]
        asked += [("store", store)] if store is not None else []
        raw = await self._ask("GET", f"/v1/deliveries?{urlencode(asked)}")
        return self._read(raw, _Deliveries, "the deliveries").deliveries

    async def retry_deliveries(self, body: Mapping[str, object]) -> int:
        """Have deliveries tried now; return how many."""
        raw = await self._ask("POST", "/v1/deliveries/retry", body)
        return self._read(raw, _Retried, "the retry").retried

    async def drop_delivery(self, body: Mapping[str, object]) -> None:
        """Give a delivery up."""
        await self._ask("POST", "/v1/deliveries/drop", body)

    async def verify(self) -> Verification:
        """Let the service compare its journal with its stores; may take a while."""
        raw = await self._ask("GET", "/v1/verify", answer_s=_LONG_S)
        return self._read(raw, Verification, "verify")

    async def repair(self, differences: Sequence[Mapping[str, object]]) -> dict[str, Any]:
        """Let the service mend what a comparison has found; return what it did."""
        body = {"differences": differences}
        raw = await self._ask("POST", "/v1/verify/repair", body, answer_s=_LONG_S)
        return self._read(raw, dict[str, Any], "the repair")

    async def rebuild(self, store: str, *, begin: bool) -> dict[str, Any]:
        """Return how far a store is that is made anew, or begin it."""
        path = f"/v1/stores/{store}/rebuild"
        raw = await self._ask("POST" if begin else "GET", path)
        return self._read(raw, dict[str, Any], "the rebuild")

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        answer_s: float = _ANSWER_S,
    ) -> bytes:
        headers = {**self.authorization, "Content-Type": "application/json"}
        data = None if body is None else msgspec.json.encode(body)
        status, answer = await self._request(
            method, self.base_url + path, data=data, headers=headers, answer_s=answer_s
        )
        said = f"{method} {path}: {status} {_complaint(answer)}"
        if status == 404:
            raise CallUnknown(said)
        if status in (401, 403):
            raise ServiceRefused(f"{said}; give the API token that the service was started with")
        if status in (408, 429) or status >= 500:
            raise ServiceUnreachable(said)
        if not 200 <= status < 300:
            raise ServiceRefused(said)
        return answer

    async def _request(
        self, method: str, url: str, *, data: bytes | None, headers: dict[str, str], answer_s: float
    ) -> tuple[int, bytes]:
        if self._session is None:
            raise RuntimeError("open the front door with `async with` first")
        limit = aiohttp.ClientTimeout(total=answer_s)
        try:
            # the library warns of bytes as large as a batch of calls
            body = BytesIO(data) if data is not None and len(data) > _LARGE else data
            async with self._session.request(
                method, url, data=body, headers=headers, timeout=limit, allow_redirects=False
            ) as answer:
                return answer.status, await answer.read()
        except TimeoutError as exc:
            raise ServiceUnreachable(f"{url} did not answer within {answer_s:g} s") from exc
        except aiohttp.ClientError as exc:
            raise ServiceUnreachable(
                f"{url} does not answer ({exc}): start it with `agent-sidecar serve`"
            ) from exc

    def _read(self, raw: bytes, shape: type[_Shape], what: str) -> _Shape:
        try:
            return msgspec.json.decode(raw, type=shape)
        except msgspec.DecodeError as exc:
            raise ServiceRefused(f"{self.base_url}: the answer to {what} is odd: {exc}") from exc


def _complaint(answer: bytes) -> str:
    """Return what a refusal says to people."""
    try:
        refusal = msgspec.json.decode(answer, type=_Refusal)
    except msgspec.DecodeError:
        return answer[:_EXCERPT].decode(errors="replace")
    return "; ".join(said for said in (refusal.message, refusal.what_to_do) if said)
