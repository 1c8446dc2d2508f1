"""The driver of Chroma servers: collections of one embedding model, and errors in our words.

Shared by the adapters of the vector store. Every vector comes from us: a function that would make
one fails loudly, since Chroma's own default would fetch a model from the network.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

import chromadb
import httpx
from chromadb.api import AsyncClientAPI
from chromadb.api.async_fastapi import AsyncFastAPI
from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.api.types import Embeddable, EmbeddingFunction, Embeddings
from chromadb.config import Settings
from chromadb.errors import (
    AuthorizationError,
    ChromaAuthError,
    ChromaError,
    InternalError,
    NotFoundError,
    QuotaError,
    RateLimitError,
    VersionMismatchError,
)

from agent_sidecar.errors import RecordRejected, SettingsInvalid, StoreUnavailable
from agent_sidecar.telemetry import ResponseTimes

T = TypeVar("T")

MODEL_KEY, DIMENSION_KEY = "embedding_model", "embedding_dimension"
_DEFAULT_PORTS = {"http": 8000, "https": 443}
# more at once only queue inside the server
_AT_ONCE = 8
_NOT_THE_DATA = (InternalError, QuotaError, RateLimitError, VersionMismatchError)


class ChromaServer:
    """One Chroma server and the one embedding model that its collections are for.

    Connects with the first question, so a server may come later. An async context manager; `ask_s`
    is for one question with everything it needs.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        dimension: int,
        ask_s: float = 10.0,
        times: ResponseTimes | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self.dimension = dimension
        self.times = times or ResponseTimes()
        self._ask_s = ask_s
        self._connected: AsyncClientAPI | None = None
        self._connecting = asyncio.Lock()
        self._handles: dict[str, AsyncCollection] = {}
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise SettingsInvalid(f"SIDECAR_CHROMA_URL {url!r} must look like http://HOST:8000")
        self._host, self._is_secure = parts.hostname, parts.scheme == "https"
        self._port = parts.port or _DEFAULT_PORTS[parts.scheme]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connected = None
        self._handles.clear()
        # the client keeps its connections per event loop and has no public way to close them
        loop = asyncio.get_running_loop()
        connections = AsyncFastAPI._clients.pop(loop.__hash__(), None)  # noqa: SLF001
        if connections is not None:
            await connections.aclose()

    async def ping(self) -> None:
        """Ask for the number of collections: unlike a heartbeat it needs the server's disk."""
        async with self._translated():
            await (await self._client()).count_collections()

    async def check_model(self) -> None:
        """Raise `SettingsInvalid` when any collection of ours was made with another model."""
        async with self._translated():
            stored = await (await self._client()).list_collections()
        for found in stored:
            if MODEL_KEY in (found.metadata or {}):
                self.check(found.name, found.metadata)

    async def create(self, name: str, *, description: str) -> bool:
        """Create a collection unless it is there; True when it was not."""
        async with self._translated():
            # what we saw before may be gone
            self._handles.pop(name, None)
            try:
                await self._handle(name)
            except NotFoundError:
                # another process may create it right now: then we take his
                await (await self._client()).get_or_create_collection(
                    name,
                    configuration={"hnsw": {"space": "cosine"}},
                    metadata={
                        "description": description,
                        MODEL_KEY: self.model,
                        DIMENSION_KEY: self.dimension,
                    },
                    # a function named here would have to be known to everybody who reads
                    embedding_function=None,
                )
                await self._handle(name)
                return True
        return False

    async def drop(self, name: str) -> None:
        """Remove a collection with all its rows, of whatever model; none is no error."""
        async with self._translated():
            self._handles.pop(name, None)
            with suppress(NotFoundError):
                await (await self._client()).delete_collection(name)

    async def ask(self, name: str, question: Callable[[AsyncCollection], Awaitable[T]]) -> T | None:
        """Ask one collection something; None when there is no such collection.

        Raises `StoreUnavailable`, `RecordRejected`, and `SettingsInvalid` for another model.
        """
        async with self._translated():
            try:
                return await question(await self._handle(name))
            except NotFoundError:
                # made anew since we saw it (a rebuild): its name is the same, its id is not
                self._handles.pop(name, None)
            try:
                return await question(await self._handle(name))
            except NotFoundError:
                self._handles.pop(name, None)
                return None

    async def ask_each(
        self, names: Sequence[str], question: Callable[[AsyncCollection], Awaitable[T]]
    ) -> Mapping[str, T | None]:
        """Ask several collections the same, a few at a time; the first failure ends them all."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def ask(name: str) -> T | None:
            async with turns:
                return await self.ask(name, question)

        try:
            async with asyncio.TaskGroup() as asking:
                asked = {name: asking.create_task(ask(name), name=f"ask:{name}") for name in names}
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return {name: task.result() for name, task in asked.items()}

    async def _handle(self, name: str) -> AsyncCollection:
        handle = self._handles.get(name)
        if handle is None:
            client = await self._client()
            handle = await client.get_collection(name, embedding_function=_NoEmbedding())
            self.check(name, handle.metadata)
            self._handles[name] = handle
        return handle

    async def _client(self) -> AsyncClientAPI:
        async with self._connecting:
            if self._connected is None:
                self._connected = await chromadb.AsyncHttpClient(
                    host=self._host,
                    port=self._port,
                    ssl=self._is_secure,
                    # certificates are not checked unless told so
                    settings=Settings(anonymized_telemetry=False, chroma_server_ssl_verify=True),
                )
            return self._connected

    def check(self, name: str, metadata: Mapping[str, object] | None) -> None:
        """Raise `SettingsInvalid` for a collection of another model."""
        known = metadata or {}
        model, dimension = known.get(MODEL_KEY), known.get(DIMENSION_KEY)
        if (model, dimension) != (self.model, self.dimension):
            raise SettingsInvalid(
                f"the Chroma collection {name!r} holds vectors of the model {model} ({dimension}"
                f" numbers), but SIDECAR_MODEL is {self.model} ({self.dimension}): set the former"
                " model again, or make all vectors anew with `agent-sidecar rebuild chroma`"
            )

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        where = f"the Chroma server at {self.url}"
        try:
            async with asyncio.timeout(self._ask_s):
                with self.times.measured():
                    yield
        except (SettingsInvalid, RecordRejected):
            raise
        except TimeoutError as exc:
            raise StoreUnavailable(
                f"{where} did not answer within {self._ask_s:g} s: see whether it is overloaded"
            ) from exc
        except (httpx.HTTPError, OSError) as exc:
            raise StoreUnavailable(
                f"{where} does not answer ({_words(exc)}): start it, or mend SIDECAR_CHROMA_URL"
            ) from exc
        except (AuthorizationError, ChromaAuthError) as exc:
            raise StoreUnavailable(f"{where} refused us: see who may use it") from exc
        except _NOT_THE_DATA as exc:
            raise StoreUnavailable(f"{where} failed ({_words(exc)}): see its log") from exc
        except (ChromaError, ValueError, TypeError) as exc:
            raise RecordRejected(f"{where} refused this ({_words(exc)})") from exc
        except Exception as exc:
            # the client raises a bare Exception for every answer it does not understand
            if type(exc) is not Exception:
                raise
            raise StoreUnavailable(f"{where} failed ({_words(exc)}): see its log") from exc


class _NoEmbedding(EmbeddingFunction[Embeddable]):
    """Stands where Chroma would make vectors itself; whoever lets it is wrong."""

    def __init__(self) -> None:
        """Chroma's own type warns about classes without one."""

    def __call__(self, input: Embeddable) -> Embeddings:
        raise RuntimeError("vectors are made by the embedder: pass embeddings")

    @staticmethod
    def name() -> str:
        return "agent-sidecar"

    def get_config(self) -> dict[str, object]:
        return {}

    @staticmethod
    def build_from_config(config: dict[str, object]) -> "_NoEmbedding":
        return _NoEmbedding()


def _words(exc: BaseException) -> str:
    return str(exc).splitlines()[0][:300] if str(exc) else type(exc).__name__
