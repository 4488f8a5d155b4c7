"""SQL stands in the floors that own the tables, and nobody but query reads another's tables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from support.source_tree import ROOT, Module, literals, modules, offences

STATEMENT = re.compile(
    r"\s*(SELECT\s|INSERT\s+INTO|UPDATE\s+\S+\s+(AS\s+\S+\s+)?SET|DELETE\s+FROM|WITH\s+\w+\s*(\(.*\)\s*)?AS\s|COPY\s|"
    r"(CREATE|ALTER|DROP|LOCK|TRUNCATE)\s+(TABLE|ROLE|DATABASE|INDEX|POLICY|FUNCTION|SEQUENCE)|BEGIN\b|COMMIT\b|"
    r"ROLLBACK\b|SET\s+LOCAL|RESET\s+ROLE|GRANT\s|REVOKE\s)"
)
# Of the query language of the graph, which looks alike: `SELECT … FROM digitaltwins`.
GRAPH_QUERY = re.compile(r"\bFROM\s+(digitaltwins|relationships)\b", re.IGNORECASE)
TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE|LOCK TABLE)\s+(?:ONLY\s+)?([a-z_]+)\b")

OWNERS = {
    "tenant_head": "store",
    "schema_migration": "store",
    "generation": "store",
    "tenant_stored": "store",
    "tenant_traffic": "store",
    "tenant": "security",
    "api_key": "security",
    "audit": "security",
    "path": "history",
    "latest": "history",
    "promoted_value": "history",
    "latest_ended": "history",
    "sample": "history",
    "sample_head": "history",
    "sample_head_leaf": "history",
    "sample_pack": "history",
    "sample_superseded": "history",
    "cold_week": "history",
    "cold_thawed": "history",
    "change": "history",
    "origin": "history",
    "correction": "history",
    "sample_gap": "history",
    "rollup": "history",
    "rollup_stale": "history",
    "model": "graph",
    "model_log": "graph",
    "twin": "graph",
    "twin_span": "graph",
    "twin_stamp": "graph",
    "relationship": "graph",
    "relationship_span": "graph",
    "endpoint": "routing",
    "event_route": "routing",
    "dead_letter": "routing",
    "event_seen": "ingest",
    "quarantine": "ingest",
    "quarantine_expiry": "ingest",
    "source_position": "ingest",
    "mapping": "mapping",
    "job": "jobs",
    "job_log": "jobs",
    "source": "sources",
    "source_contract": "sources",
    "source_drift": "sources",
    "source_heard": "sources",
}
"""Which package owns each table: it alone knows the columns."""

SHARED = {
    ("store", "cold_week"),  # what a tenant costs: the bytes of its files
    ("store", "cold_thawed"),  # and the samples in them that are elsewhere again
    ("history", "tenant"),  # retention: the days that each tenant keeps; roll-ups: which tenants there are
    ("history", "tenant_head"),  # the line under which nothing is taken again; how far roll-ups reach
    ("security", "tenant_head"),  # a tenant is born with its head
    ("routing", "tenant"),  # deliveries: events name their tenant as their source
    ("routing", "generation"),  # ids of events name the history they are of
    ("routing", "tenant_head"),  # a route starts with the next change, and lags behind the newest
    ("routing", "change"),  # since when the next change of a route has waited
    ("sources", "tenant"),  # the supervisor: what a tenant may use is allowed by its name
    ("graph", "latest"),  # a deleted twin's state goes with it
}
"""Who else may touch a table, and why."""


ROWS_ALONE = re.compile(r"\b(FROM|JOIN|UPDATE|INTO) sample\b")
KNOWS_ROWS = {
    "cold.py",
    "cold_rows.py",
    "freezing.py",
    "stored.py",
    "rollups.py",
    "write.py",
    "retention.py",
    "moves.py",
    "corrections.py",
    "origins.py",
}
"""Modules that look at rows of `sample` alone, after they unpacked what is not or where packed ones do not matter."""


def test_sql_stands_where_tables_are_owned() -> None:
    floors = {*OWNERS.values(), "query"}
    found = [
        f"{module.at(node)}: SQL outside {', '.join(sorted(floors))}: {' '.join(text.split())[:60]}"
        for module in modules("src")
        if module.package not in floors
        for node, text in _statements(module)
    ]
    offences(found)


def test_tables_are_left_to_their_owners() -> None:
    found = [
        f"{module.at(node)}: {module.package} touches {table}, which {OWNERS[table]} owns"
        for module in modules("src")
        if module.package != "query"
        for node, text in _statements(module)
        for table in sorted(set(TABLE.findall(text)) & OWNERS.keys())
        if OWNERS[table] != module.package and (module.package, table) not in SHARED
    ]
    offences(found)


def test_samples_are_read_through_the_one_place_that_knows_where_they_lie() -> None:
    """A sample may be a row or packed: gemel.history.stored has what reads all, and `unpack` for what changes them."""
    found = [
        f"{module.at(node)}: names the table sample; use gemel.history.stored, whose rows are not all"
        for module in modules("src")
        if module.path.name not in KNOWS_ROWS
        for node, text in literals(module)
        if ROWS_ALONE.search(text)
    ]
    offences(found)


def test_every_table_has_an_owner_and_is_described() -> None:
    architecture = (ROOT / "docs/architecture.md").read_text("utf-8")
    created = {"schema_migration"}
    for path in sorted((ROOT / "src/gemel/store/migrations").glob("*.sql")):
        created |= set(re.findall(r"^CREATE TABLE (\w+)", path.read_text("utf-8"), re.MULTILINE))
    offences([f"{table}: has no owner in test_sql.py" for table in sorted(created - OWNERS.keys())])
    offences([f"{table}: is owned but not there" for table in sorted(OWNERS.keys() - created)])
    offences(
        [
            f"docs/architecture.md: does not name the table {t}"
            for t in sorted(created)
            if f"`{t}`" not in architecture
        ]
    )


def _statements(module: Module) -> Iterator[tuple[ast.AST, str]]:
    for node, text in literals(module):
        if STATEMENT.match(text) and not GRAPH_QUERY.search(text):
            yield node, text
