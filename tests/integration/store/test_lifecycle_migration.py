"""A database from before lifecycles: its twins are active, and their spans get the components they had."""

from __future__ import annotations

import psycopg

from gemel.store.migrate import migrate
from gemel.store.server import BundledServer
from support.postgres import fresh_database

PUMP, ASSET, GONE = "dtmi:t:Pump;1", "dtmi:t:Asset;1", "dtmi:t:Gone;1"
BEFORE = f"""
INSERT INTO tenant (tenant, name) VALUES (1, 'one');
INSERT INTO model (tenant, model_id, document, uploaded)
SELECT 1, id, '{{}}', now() FROM unnest(ARRAY['{PUMP}', '{ASSET}']) AS m (id);
INSERT INTO twin (tenant, twin_no, twin_id, model_id, components, valid_from, created, recorded)
VALUES (1, 1, 'p', '{PUMP}', '{{"motor": "dtmi:t:Motor;1"}}', now(), now(), now()),
       (1, 2, 'a', '{ASSET}', '{{}}', now(), now(), now());
INSERT INTO twin_span (tenant, twin_no, twin_id, model_id, valid_from, recorded_from)
VALUES (1, 1, 'p', '{PUMP}', now(), now()), (1, 2, 'a', '{ASSET}', now(), now()),
       (1, 3, 'q', '{PUMP}', now(), now()), (1, 4, 'g', '{GONE}', now(), now());"""


def test_spans_get_components_and_twins_are_active(cluster: BundledServer) -> None:
    with fresh_database(cluster) as dsns:
        migrate(dsns.owner, upto="0002_audit_filters")
        with psycopg.connect(dsns.owner, autocommit=True) as owner:
            owner.execute(BEFORE.encode())
            migrate(dsns.owner)
            spans = owner.execute("SELECT twin_id, components, lifecycle FROM twin_span ORDER BY twin_no")
            motor = {"motor": "dtmi:t:Motor;1"}
            assert spans.fetchall() == [
                ("p", motor, "active"),
                ("a", {}, "active"),
                ("q", motor, "active"),
                ("g", {}, "active"),
            ]
            twins = owner.execute("SELECT lifecycle, lifecycle_from FROM twin").fetchall()
            assert twins == [("active", None)] * 2
