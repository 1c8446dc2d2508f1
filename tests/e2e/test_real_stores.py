"""Servers of one's own: a MongoDB by its wire protocol, and a real Neo4j where there is one."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from neo4j import GraphDatabase
from pymongo import MongoClient

from tests.e2e.front_door import STORES, Api
from tests.e2e.recordings import talk, write_calls
from tests.e2e.sidecar import Finished, Sidecar
from tests.secantus import secantus_server

pytestmark = pytest.mark.e2e


def replayed(sidecar: Sidecar, tmp_path: Path) -> Any:
    """Replay three calls; return the report of a replay that went well."""
    path = tmp_path / "calls.jsonl"
    write_calls(path, calls=3, lines=8, name="real")
    replay = sidecar.run("replay", str(path), "--speed", "50", "--json")
    assert replay.code == 0, replay.err
    report = replay.json()
    assert report["verify"] == "clean"
    for call in report["calls"]:
        assert call["stores"] == dict.fromkeys(STORES, "delivered")
    return report


async def test_conversations_are_kept_in_mongodb(sidecar: Sidecar, tmp_path: Path):
    async with secantus_server() as url:
        sidecar.settings["MONGODB_URL"] = url
        # the service outlives the replay, so that each command need not start one
        service_url = await asyncio.to_thread(sidecar.start)
        report = await asyncio.to_thread(replayed, sidecar, tmp_path)
        async with Api(service_url) as api:
            engines = {row["store"]: row for row in (await api.get("/v1/stores"))["stores"]}
        assert "MongoDB" in engines["conversations"]["engine"]
        assert engines["conversations"]["counts"] == {"conversations": 3}
        verify = await asyncio.to_thread(_verify_one_that_was_changed, sidecar, url, report)
        assert await asyncio.to_thread(sidecar.stop) == 0
    assert verify.code == 1
    changed = report["calls"][1]["sidecar_call_id"]
    [difference] = verify.json()["differences"]
    assert (difference["store"], difference["call_id"]) == ("conversations", changed)
    assert "transcript.fullText" in difference["text"]


def _verify_one_that_was_changed(sidecar: Sidecar, url: str, report: Any) -> Finished:
    """Look at the documents with MongoDB's own client, change one, and let `verify` find it."""
    with MongoClient[dict[str, Any]](url, serverMonitoringMode="poll") as client:
        conversations = client.get_default_database()["conversations"]
        kept = {document["_id"]: document for document in conversations.find()}
        assert set(kept) == {call["sidecar_call_id"] for call in report["calls"]}
        for number, call in enumerate(report["calls"]):
            document = str(kept[call["sidecar_call_id"]])
            assert all(text in document for _, text in talk(number, 8))
        changed = {"_id": report["calls"][1]["sidecar_call_id"]}
        conversations.update_one(changed, {"$set": {"transcript.fullText": "other words"}})
        return sidecar.run("verify", "--json")


@pytest.mark.skipif("NEO4J_TEST_URL" not in os.environ, reason="NEO4J_TEST_URL names no Neo4j")
def test_a_replay_ends_in_a_real_neo4j(sidecar: Sidecar, tmp_path: Path):
    url, password = os.environ["NEO4J_TEST_URL"], os.environ["NEO4J_TEST_PASSWORD"]
    user = os.environ.get("NEO4J_TEST_USER", "neo4j")
    # calls that other tests left there would be too many
    with GraphDatabase.driver(url, auth=(user, password)) as driver:
        driver.execute_query("MATCH (n) DETACH DELETE n")
    sidecar.settings |= {"NEO4J_URL": url, "NEO4J_USER": user, "NEO4J_PASSWORD": password}
    sidecar.start()
    replayed(sidecar, tmp_path)
    doctor = sidecar.run("doctor", "--json")
    assert doctor.code == 0, doctor.out
    findings = {f["part"]: f["text"] for f in doctor.json()["findings"]}
    assert "Neo4j" in findings["store neo4j"]
