"""What a graph server's error codes mean to whoever asked: try again, or never again."""

import pytest
from neo4j.exceptions import Neo4jError

from agent_sidecar.adapters.bolt import Bolt, BoltAddress
from agent_sidecar.errors import RecordRejected, StoreUnavailable

AT = BoltAddress(url="bolt://127.0.0.1:9", user="neo4j", password="")


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        # what ArcadeDB says of a commit while its disk is full
        ("Neo.ClientError.Transaction.TransactionNotFound", StoreUnavailable),
        ("Neo.ClientError.Transaction.TransactionTimedOut", StoreUnavailable),
        ("Neo.DatabaseError.Transaction.TransactionCommitFailed", StoreUnavailable),
        ("Neo.ClientError.Statement.TypeError", RecordRejected),
    ],
)
async def test_only_what_the_record_is_at_fault_for_is_never_tried_again(code, meaning):
    async with Bolt(AT) as bolt:
        with pytest.raises(meaning, match="Transaction error on commit"):
            async with bolt._translated(1.0):
                raise Neo4jError._hydrate_neo4j(code=code, message="Transaction error on commit")
