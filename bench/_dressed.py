"""Leads and kinds of lead for a copied history, whose calls were with strangers.

What is written stands where the service would have written it; nothing is added up anew, since a
look-up costs the same whatever the numbers are.
"""

from collections.abc import Sequence
from itertools import product

from agent_sidecar.adapters.bolt import Bolt, Run
from agent_sidecar.adapters.pg import Connection, PgPool

EXPERIENCE, INCOME = ("beginner", "some", "expert"), ("low", "mid", "high")
# the first of all leads' numbers
FIRST_PHONE = 12_122_000_000

_LEADS = """
UPDATE leads SET experience_level = ($1::text[])[1 + abs(hashtext(id::text)) % 3],
    current_income_range = ($2::text[])[1 + abs(hashtext(id::text || 'income')) % 3]
"""
_EXAMPLES = """
UPDATE conversations SET example_kinds = ARRAY['', k.experience, k.experience || k.income]
FROM (SELECT id, 'experience_level=' || ($1::text[])[1 + abs(hashtext(id)) % 3] AS experience,
    '|current_income_range=' || ($2::text[])[1 + abs(hashtext(id || 'income')) % 3] AS income
    FROM conversations) k
WHERE k.id = conversations.id
"""
_PHASES_OF_A_KIND = """
MATCH (p:Phase)-[a:ANSWERED_BY]->(s:Strategy)
WITH 'phase:' + toString(p.number) + '|' + $kind AS scope, s, properties(a) AS counted
MERGE (k:Kind {scope: scope}) ON CREATE SET k.kind = $kind
MERGE (k)-[b:ANSWERED_BY]->(s) SET b = counted
"""
_OBJECTIONS_OF_A_KIND = """
MATCH (o:Objection)-[a:ANSWERED_BY]->(s:Strategy)
WITH 'objection:' + o.type + '|' + $kind AS scope, s, properties(a) AS counted
MERGE (k:Kind {scope: scope}) ON CREATE SET k.kind = $kind
MERGE (k)-[b:ANSWERED_BY]->(s) SET b = counted
"""


async def dress(pool: PgPool, bolt: Bolt, *, leads: int) -> None:
    """Give the stored calls kinds of lead, and fill up to so many leads, each with a number."""

    async def tables(connection: Connection) -> None:
        await connection.execute(_LEADS, EXPERIENCE, INCOME)
        await connection.execute(_EXAMPLES, EXPERIENCE, INCOME)
        await connection.copy_records_to_table(
            "leads",
            columns=("phone", "first_name", "experience_level", "current_income_range"),
            records=[
                (phone(number), "Ann", EXPERIENCE[number % 3], INCOME[number // 3 % 3])
                for number in range(leads)
            ],
        )

    async def analyse(connection: Connection) -> None:
        await connection.execute("ANALYZE")

    await pool.transact(tables)
    await pool.transact(analyse)
    for kind in _kinds():
        await bolt.write(lambda run, kind=kind: _copy_counts(run, kind))  # type: ignore[misc]


def phone(number: int) -> str:
    """Return the number of a lead, E.164."""
    return f"+{FIRST_PHONE + number}"


def _kinds() -> Sequence[str]:
    narrow = [
        f"experience_level={experience}|current_income_range={income}"
        for experience, income in product(EXPERIENCE, INCOME)
    ]
    return [*(f"experience_level={experience}" for experience in EXPERIENCE), *narrow]


async def _copy_counts(run: Run, kind: str) -> None:
    await run(_PHASES_OF_A_KIND, kind=kind)
    await run(_OBJECTIONS_OF_A_KIND, kind=kind)
