"""Look over the whole graph, page by page, for what is not as the models say."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from gemel.graph.context import GraphContext
from gemel.graph.findings import CheckedTwin, Finding, twin_findings
from gemel.graph.neighbours import links_from, related_with_properties
from gemel.graph.paging import Listing
from gemel.graph.relating import property_faults
from gemel.graph.writing import existing_type
from gemel.history.state import read_state
from gemel.models import TwinType
from gemel.store.database import ReadTransaction

__all__ = ["CheckPage", "check_graph"]

TOKEN = "check"
RELATIONSHIP_FAULTS_MAX = 20
"""How many relationships of a twin are told of for their properties; a hub has many."""

PAGE = """
SELECT t.twin_no, t.twin_id, t.model_id, t.components, m.decommissioned
FROM twin AS t JOIN model AS m ON m.tenant = t.tenant AND m.model_id = t.model_id
WHERE t.tenant = current_tenant() AND t.twin_no > %s ORDER BY t.twin_no LIMIT %s"""


@dataclass(frozen=True, slots=True)
class CheckPage:
    """What was found on some twins, how many they were, and the token that goes on, or None at the end."""

    findings: list[Finding]
    examined: int
    token: str | None


async def check_graph(
    tx: ReadTransaction, context: GraphContext, size: int, token: str | None = None
) -> CheckPage:
    """Check the next `size` twins, in the order in which they were made, with all that leaves them.

    Raises InvalidError (InvalidArgument) for a token that another list gave.
    """
    listing = Listing(tx.tenant, TOKEN)
    after = listing.decode(token, no=int)["no"] if token is not None else -1
    rows = await tx.rows(PAGE, (after, size + 1))
    page = rows[:size]
    types = {model: await existing_type(tx, context.library, model) for model in {row[2] for row in page}}
    numbers = {row[0]: types[row[2]] for row in page}
    links = await links_from(tx, numbers)
    wrong = await _relationship_faults(tx, numbers)
    state = await read_state(tx, context.paths, list(numbers))
    models = await context.library.models(tx)

    def found() -> list[Finding]:
        twins = [
            CheckedTwin(
                twin_id,
                types[model_id],
                decommissioned,
                components,
                state[twin_no],
                links.get(twin_no, ()),
                wrong.get(twin_no, ()),
            )
            for twin_no, twin_id, model_id, components, decommissioned in page
        ]
        return [finding for twin in twins for finding in twin_findings(twin, models.is_a)]

    findings = await asyncio.to_thread(found)
    return CheckPage(findings, len(page), listing.encode(no=page[-1][0]) if len(rows) > size else None)


async def _relationship_faults(
    tx: ReadTransaction, types: dict[int, TwinType]
) -> dict[int, list[tuple[str, str]]]:
    found: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
    async for related in related_with_properties(tx, types):
        relationship = types[related.source_no].relationships.get(related.name)
        faults = found[related.source_no]
        if relationship is not None and len(faults) < RELATIONSHIP_FAULTS_MAX:
            wrong = property_faults(related.properties, related.name, relationship)
            faults += [(related.relationship_id, fault) for fault in wrong]
    return found
