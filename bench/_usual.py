"""The usual way to find a hint's evidence, for comparison: one question at a time, its best case.

sentence-transformers on torch embeds the words; Chroma searches one big collection with a `where`
filter on the outcome; a Cypher query adds up what was used in such moments; one after the other.
The vectors (in clusters, as sentences are) and the edges are made once and kept in a folder.
"""

import asyncio
import importlib.util
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import chromadb
import neo4j
import numpy as np
from chromadb.api import ClientAPI
from chromadb.api.models.Collection import Collection

from agent_sidecar.adapters.model_prepare import WEIGHTS_MODULE
from agent_sidecar.domain.types import Vector
from agent_sidecar.embedded import Stack, StackUrls
from bench._report import percentiles_ms, screen
from bench._talk import WORTH_A_HINT

OUTCOMES = ("hot_transfer", "video_sent", "follow_up", "disqualified", "no_answer", "abandoned")
QUESTIONS, WARM_UP = 60, 10
DIMENSION = 384
# of them there are a fifth as many as vectors, with three moves each
_CALLS_PER_VECTOR, _MOVES = 0.2, 3
_TOPICS, _SPREAD = 200, 0.7
_AT_ONCE = 2000
_COLLECTION = "conversations"
_CONVERSATIONS = """
UNWIND $rows AS row CREATE (:UsualCall {id: row})
"""
_USED = """
UNWIND $rows AS row
MATCH (c:UsualCall {id: row.call}) MATCH (s:UsualStrategy {name: row.strategy})
CREATE (c)-[:USED_STRATEGY {phase: row.phase, objection: row.objection,
                            effectiveness: row.effectiveness, led_to_transfer: row.led}]->(s)
"""
_WORKED = """
MATCH (:UsualCall)-[u:USED_STRATEGY]->(s:UsualStrategy)
WHERE u.phase = $phase AND u.objection = $objection
RETURN s.name AS name, count(u) AS tried, avg(u.effectiveness) AS effectiveness,
       sum(CASE WHEN u.led_to_transfer THEN 1 ELSE 0 END) AS led
ORDER BY effectiveness DESC LIMIT 10
"""


def usual_ms(kept: Path, vectors: int) -> Mapping[str, float | None]:
    """Return `usual_p50_ms` and `usual_p99_ms`; None where torch is not installed."""
    model = _model()
    if model is None:
        screen.print(
            "[yellow]the usual way needs torch: pip install -c constraints.txt '.[bench]'[/]"
        )
        return {"usual_p50_ms": None, "usual_p99_ms": None}
    return asyncio.run(_measure(kept / f"usual-{vectors}", vectors, model))


def _model() -> Any:
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    spec = importlib.util.find_spec(WEIGHTS_MODULE)
    if spec is None or not spec.submodule_search_locations:
        return None
    # the weights are there: nothing is to be fetched
    os.environ["HF_HUB_OFFLINE"] = "1"
    library = importlib.import_module("sentence_transformers")
    return library.SentenceTransformer(f"{spec.submodule_search_locations[0]}/model", device="cpu")


async def _measure(folder: Path, vectors: int, model: Any) -> Mapping[str, float | None]:
    stack = Stack(folder, only=("chroma", "graph"))
    urls = await stack.start()
    try:
        async with _driver(urls) as driver:
            client = await asyncio.to_thread(_client, urls)
            await _load(folder, client, driver, vectors)
            collection = client.get_collection(_COLLECTION, embedding_function=None)
            took_s = [await _ask(n, model, collection, driver) for n in range(QUESTIONS + WARM_UP)]
    finally:
        await stack.aclose()
    return {**percentiles_ms("usual_", took_s[WARM_UP:], 50, 99)}


async def _ask(number: int, model: Any, collection: Collection, driver: neo4j.AsyncDriver) -> float:
    text = f"Look, {WORTH_A_HINT[number % len(WORTH_A_HINT)]} ({number})"
    began = time.perf_counter()
    vector: Vector = model.encode(text, convert_to_numpy=True, show_progress_bar=False)
    collection.query(
        query_embeddings=vector[np.newaxis],
        n_results=10,
        where={"outcome": OUTCOMES[number % 3]},
        include=["metadatas", "documents", "distances"],
    )
    await driver.execute_query(_WORKED, phase=1 + number % 12, objection=f"objection-{number % 10}")
    return time.perf_counter() - began


async def _load(folder: Path, client: ClientAPI, driver: neo4j.AsyncDriver, vectors: int) -> None:
    mark = folder / "loaded"
    if mark.exists():
        return
    screen.print(f"[dim]loading {vectors} vectors and their graph for the usual way, once[/]")
    collection = client.get_or_create_collection(
        _COLLECTION, configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    chance = np.random.default_rng(0)
    for first, rows in _vectors(chance, vectors):
        numbers = range(first, first + len(rows))
        collection.upsert(
            ids=[f"v{n}" for n in numbers],
            embeddings=rows,
            documents=[f"line {n} of a call" for n in numbers],
            metadatas=[
                {"outcome": OUTCOMES[n % len(OUTCOMES)], "strategy": f"strategy-{n % 16}"}
                for n in numbers
            ],
        )
    await _load_graph(driver, round(vectors * _CALLS_PER_VECTOR), chance)
    mark.touch()


async def _load_graph(driver: neo4j.AsyncDriver, calls: int, chance: np.random.Generator) -> None:
    for node, key in (("UsualCall", "id"), ("UsualStrategy", "name")):
        await driver.execute_query(f"CREATE INDEX IF NOT EXISTS FOR (n:{node}) ON (n.{key})")
    names = [f"strategy-{n}" for n in range(16)]
    await driver.execute_query("UNWIND $names AS n CREATE (:UsualStrategy {name: n})", names=names)
    for first in range(0, calls, _AT_ONCE):
        numbers = range(first, min(calls, first + _AT_ONCE))
        await driver.execute_query(_CONVERSATIONS, rows=[f"c{n}" for n in numbers])
        moves = [
            {
                "call": f"c{n}",
                "strategy": names[int(chance.integers(16))],
                "phase": int(chance.integers(1, 13)),
                "objection": f"objection-{chance.integers(10)}",
                "effectiveness": float(chance.random() * 10),
                "led": bool(chance.random() < 0.2),
            }
            for n in numbers
            for _ in range(_MOVES)
        ]
        await driver.execute_query(_USED, rows=moves)


def _vectors(chance: np.random.Generator, count: int) -> Iterator[tuple[int, np.ndarray]]:
    topics = chance.standard_normal((_TOPICS, DIMENSION), np.float32)
    topics /= np.linalg.norm(topics, axis=1, keepdims=True)
    for first in range(0, count, _AT_ONCE):
        many = min(_AT_ONCE, count - first)
        noise = chance.standard_normal((many, DIMENSION), np.float32) / np.sqrt(DIMENSION)
        rows = topics[chance.integers(_TOPICS, size=many)] + _SPREAD * noise
        yield first, rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _client(urls: StackUrls) -> ClientAPI:
    host, _, port = (urls.chroma or "").removeprefix("http://").partition(":")
    return chromadb.HttpClient(host=host, port=int(port))


def _driver(urls: StackUrls) -> neo4j.AsyncDriver:
    assert urls.neo4j is not None
    assert urls.neo4j_user is not None
    return neo4j.AsyncGraphDatabase.driver(
        urls.neo4j,
        auth=(urls.neo4j_user, urls.neo4j_password or ""),
        notifications_min_severity="OFF",
    )
