"""Who may import whom, and how big things may get: the rules that keep the promises apart."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "agent_sidecar"
ROOT = Path(__file__).parents[1] / PACKAGE
MODULE_LINES, FUNCTION_LINES = 400, 60

# what a folder may import of the package, besides itself; a dotted name allows that module alone
MAY_IMPORT = {
    "domain": set[str](),
    "ports": {"domain"},
    "live": {"domain", "ports", "errors", "telemetry"},
    "wrapup": {"domain", "ports", "errors", "telemetry"},
    "learning": {"domain", "ports", "errors", "telemetry"},
    "adapters": {"domain", "ports", "errors", "telemetry"},
    # the one translator of its edge: frames and webhooks become domain events there
    "web": {"domain", "ports", "errors", "telemetry", "live", "adapters.telnyx_wire"},
    "embedded": {"errors"},
    # it plays the same files that `import` reads
    "simulator": {"domain", "errors", "adapters.recorded_calls"},
}
# modules of `adapters` that other adapters may import, and why
SHARED_BY_ADAPTERS = {
    "bolt": "the driver of every graph adapter: sessions, retries, errors translated once",
    "neo4j_statements": "the Cypher that one adapter runs and `migrate` shows",
    "neo4j_counts": "how counts of an edge are read and written, by the graph and by its evidence",
    "chroma_client": "the client of every vector adapter",
    "chroma_reads": "the lean way to read of every vector adapter",
    "pg": "the pool, rows and statements of every PostgreSQL adapter",
    "phones": "one way to normalise a phone number before it is stored or looked up",
    "stored_conversation": "one document for both conversation stores",
    "sqlite_again": "the journal's statements for what is told again",
    "sqlite_care": "the journal's statements for people and upkeep",
    "sqlite_codec": "how the journal's events become bytes",
    "sqlite_forgetting": "the journal as the book of what must leave every store",
    "sqlite_file": "the journal's file: opening, locking, versions",
    "sqlite_repair": "a damaged journal is rescued where it is opened",
    "sqlite_salvage": "one step of the rescue",
    "sqlite_wal": "what a log of the journal holds",
    "sqlite_rows": "the journal's statements",
    "sqlite_writer": "the journal's writing thread",
    "telnyx_values": "how odd a value of a frame or webhook may be",
    "telnyx_tries": "retries of one command",
    "on_disk": "how what was written is made to outlast a power cut",
    "model_folder": "where prepared models lie",
    "minilm_export": "one step of preparing a model",
    "torch_export": "one step of preparing a model",
    "onnx_quantiser": "one step of preparing a model",
    "onnx_embedder": "a prepared model is checked by what will run it",
    "yaml_tree": "YAML by the shape that is wanted, each mistake with its line",
    "parity": "the sentences and vectors that a prepared model is checked with",
}
PURE_STDLIB = set(
    "collections dataclasses datetime decimal enum functools hashlib itertools json math operator"
    " re statistics string typing zoneinfo".split()
)
# what only an adapter names, or the embedded server of the same name
VENDORS = set(
    "asyncpg av bson chromadb gridfs hiredis neo4j onnx onnx_ir onnxruntime phonenumbers pymongo"
    " redis safetensors sentence_transformers sqlite3 tokenizers torch yaml".split()
)
# who looks at the wall's clock
# embedded: waits for another process's file lock, before any loop has work
MAY_ASK_THE_TIME = {"adapters", "embedded", "simulator", "web"}


@dataclass(frozen=True)
class Source:
    """One module of the package."""

    path: Path
    tree: ast.Module

    @property
    def parts(self) -> tuple[str, ...]:
        """Where it lies: ("domain", "call"); a package is called as its folder."""
        inside = self.path.relative_to(ROOT).with_suffix("").parts
        return inside[:-1] if inside[-1] == "__init__" else inside

    @property
    def folder(self) -> str | None:
        """Its layer; None: it lies at the top, where everything is put together."""
        inside = self.path.relative_to(ROOT).parts
        return inside[0] if len(inside) > 1 else None

    def imports(self) -> Iterator[str]:
        """Yield every module it imports, wherever in its text, under its full name."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                package = ".".join((PACKAGE, *self.parts))
                name = node.module or ""
                name = f"{package}.{name}" if node.level else name
                submodules = [alias.name for alias in node.names if _is_module(name, alias.name)]
                yield from (f"{name}.{one}" for one in submodules)
                if len(submodules) < len(node.names):
                    yield name


def _is_module(package: str, name: str) -> bool:
    inside, *folders = package.split(".")
    folder = ROOT.joinpath(*folders)
    here = inside == PACKAGE
    return here and ((folder / f"{name}.py").exists() or (folder / name).is_dir())


def _sources() -> list[Source]:
    return [Source(path, ast.parse(path.read_text("utf-8"))) for path in sorted(ROOT.rglob("*.py"))]


SOURCES = _sources()
BY_FOLDER = {name: [s for s in SOURCES if s.folder == name] for name in MAY_IMPORT}


def ours(source: Source) -> Iterator[str]:
    """Yield what a module imports of the package: "domain.call", "errors"."""
    for name in source.imports():
        if name.split(".")[0] == PACKAGE:
            yield name.partition(".")[2]


def others(source: Source) -> Iterator[str]:
    """Yield what a module imports from elsewhere, by its first name."""
    for name in source.imports():
        if (first := name.split(".")[0]) != PACKAGE:
            yield first


def told(source: Source, what: object) -> str:
    return f"{source.path.relative_to(ROOT)}: {what}"


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_it_may(folder):
    allowed = MAY_IMPORT[folder]
    wrong = [
        told(source, name)
        for source in BY_FOLDER[folder]
        for name in ours(source)
        if name.split(".")[0] not in {folder, *allowed} and name not in allowed
        # the package itself holds nothing but its version
        if name
    ]
    assert BY_FOLDER[folder]
    assert wrong == []


def test_an_adapter_imports_no_other_adapter_but_what_they_share():
    wrong, used = [], set()
    for source in BY_FOLDER["adapters"]:
        own = source.parts[1] if len(source.parts) > 1 else ""
        for name in ours(source):
            layer, *rest = name.split(".")
            if layer != "adapters" or not rest or rest[0] == own:
                continue
            used.add(rest[0])
            if rest[0] not in SHARED_BY_ADAPTERS:
                wrong.append(told(source, name))
    assert wrong == []
    assert set(SHARED_BY_ADAPTERS) - used == set()


def test_the_domain_is_pure():
    wrong = [
        told(source, name)
        for source in BY_FOLDER["domain"]
        for name in others(source)
        if name not in {*PURE_STDLIB, "numpy"}
    ]
    assert wrong == []


def test_only_adapters_and_embedded_servers_name_a_vendor():
    wrong = [
        told(source, name)
        for source in SOURCES
        if source.folder not in {"adapters", "embedded"}
        for name in others(source)
        if name in VENDORS
    ]
    assert wrong == []


def test_only_where_everything_is_put_together_the_settings_are_seen():
    wrong = [
        told(source, name)
        for folder in MAY_IMPORT
        for source in BY_FOLDER[folder]
        for name in ours(source)
        if name == "settings"
    ]
    assert wrong == []


def test_nobody_imports_the_composition_root_from_below():
    tops = {source.parts[0] for source in SOURCES if source.folder is None and source.parts}
    tops -= {"errors", "ports", "telemetry"}
    wrong = [
        told(source, name)
        for folder in MAY_IMPORT
        for source in BY_FOLDER[folder]
        for name in ours(source)
        if name.split(".")[0] in {*tops, "commands"}
    ]
    assert wrong == []


def test_every_folder_has_its_rule():
    folders = {source.folder for source in SOURCES if source.folder}
    # the command line's modules stand beside `cli`: they may import everything
    assert folders == {*MAY_IMPORT, "commands"}


def test_every_package_says_what_it_is_for():
    packages = [source for source in SOURCES if source.path.name == "__init__.py"]
    assert [told(s, "no docstring") for s in packages if not ast.get_docstring(s.tree)] == []
    missing = {source.path.parent for source in SOURCES} - {s.path.parent for s in packages}
    assert missing == set()


def test_no_module_and_no_function_is_too_long():
    wrong = []
    for source in SOURCES:
        lines = len(source.path.read_text("utf-8").splitlines())
        if lines > MODULE_LINES:
            wrong.append(told(source, f"{lines} lines"))
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    wrong.append(told(source, f"{node.name} has {length} lines"))
    assert wrong == []


def test_only_the_edges_ask_the_wall_what_time_it_is_or_sleep_in_a_thread():
    forbidden = {"time.sleep", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
    wrong = [
        told(source, f"line {line}: {name}")
        for source in SOURCES
        if source.folder is not None and source.folder not in MAY_ASK_THE_TIME
        for name, line in _names(source.tree)
        if any(name == one or name.endswith(f".{one}") for one in forbidden)
    ]
    assert wrong == []


def _names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield dotted names as they are used, and the full names of what is imported from a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node), node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
