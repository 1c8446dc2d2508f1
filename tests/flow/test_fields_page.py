"""`deploy/fields.md` names every field of the schemas: one that is added must be described."""

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.held_fields import EDGES, GRAPH, METADATA

PAGE = (Path(__file__).parents[2] / "deploy" / "fields.md").read_text("utf-8")
SCHEMA = resources.files("agent_sidecar.adapters") / "schema"
_TABLE = re.compile(r"CREATE TABLE (\w+) \((.*?)\n\);", re.DOTALL)
_COLUMN = re.compile(r"^    ([a-z_]+) [a-z]", re.MULTILINE)
_ALTERED = re.compile(r"ALTER TABLE (\w+)\s+([^;]*)")
_ADDED = re.compile(r"ADD COLUMN (?:IF NOT EXISTS )?(\w+)")


def section(heading: str) -> str:
    """Return what stands under a heading, up to the next one of its level or above."""
    level = heading.split()[0]
    start = PAGE.index(f"\n{heading}\n") + len(heading) + 2
    end = re.search(rf"^#{{1,{len(level)}}} ", PAGE[start:], re.MULTILINE)
    return PAGE[start : start + end.start()] if end else PAGE[start:]


def named(text: str) -> set[str]:
    """Return what is named between backticks; `.b` after `a.x` is `a.b`."""
    names: set[str] = set()
    for line in text.splitlines():
        prefix = ""
        for name in re.findall(r"`([\w.]+)`", line):
            if name.startswith("."):
                names.add(prefix + name)
            else:
                prefix = name.rpartition(".")[0]
                names.add(name)
    return names


def columns(part: str) -> Mapping[str, set[str]]:
    """Return the columns of each table that the SQL of a part makes."""
    found: dict[str, set[str]] = {}
    folder = SCHEMA / "postgres" / part
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        sql = file.read_text("utf-8")
        for table, body in _TABLE.findall(sql):
            found[table] = {c for c in _COLUMN.findall(body) if c not in {"constraint"}}
        for table, changes in _ALTERED.findall(sql):
            found[table] |= set(_ADDED.findall(changes))
    return found


def leaves(schema: Mapping[str, Any], place: str = "") -> Iterator[str]:
    for name, part in schema["properties"].items():
        path = f"{place}.{name}".lstrip(".")
        inner = part.get("items", part)
        if "properties" in inner:
            yield from leaves(inner, path)
        else:
            yield path


def test_columns_are_read_from_the_schemas():
    tables = columns("crm")
    assert {"leads", "calls", "transfers", "users", "lead_changes"} <= set(tables)
    assert {"revision", "name"} <= tables["closers"]
    assert len(tables["calls"]) > 25


@pytest.mark.parametrize("table", sorted(columns("crm")))
def test_every_column_is_on_the_page(table: str):
    assert columns("crm")[table] - named(section(f"### {table}")) == set()


def test_every_field_of_the_document_is_on_the_page():
    file = SCHEMA / "mongo" / "conversations.json"
    schema = msgspec.json.decode(file.read_bytes())["validator"]["$jsonSchema"]
    assert set(leaves(schema)) - named(section("## Conversations")) == set()


@pytest.mark.parametrize("view", ["transcripts", "outcomes"])
def test_every_field_of_a_view_is_on_the_page(view: str):
    (stage,) = msgspec.json.decode((SCHEMA / "mongo" / f"{view}.json").read_bytes())["pipeline"]
    assert set(stage["$project"]) - {"_id"} - named(row_of(view)) == set()


def test_every_column_of_the_embedded_store_is_on_the_page():
    (table,) = columns("conversations").values()
    assert table - named(section("## Conversations")) == set()


@pytest.mark.parametrize("name", [*GRAPH, *EDGES])
def test_every_property_of_the_graph_is_on_the_page(name: str):
    wanted = set({**GRAPH, **EDGES}[name].split())
    assert wanted - named(row_of(name)) == set()


@pytest.mark.parametrize("name", METADATA)
def test_every_key_beside_a_vector_is_on_the_page(name: str):
    assert set(METADATA[name].split()) - named(row_of(name)) == set()


def row_of(name: str) -> str:
    """Return the row of a table whose first cell names this."""
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    return next(" ".join(cells) for cells in rows if f"`{name}`" in cells[0])
