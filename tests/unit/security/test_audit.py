from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gemel.security.audit import AuditEntry, audit_columns


@given(st.text(st.characters(exclude_categories=[]), max_size=1000))
def test_any_target_can_be_stored(target: str) -> None:
    (stored,) = audit_columns([AuditEntry("a", None, "twin.put", target, "ok", "t")])[3]
    assert stored is not None
    assert "\0" not in stored
    assert len(stored) <= 512
    stored.encode()


def test_columns_follow_the_entries() -> None:
    one, two = AuditEntry("a", "k", "twin.put", "t1", "ok", "x"), AuditEntry("b", None, "b", "t2", "no", "y")
    assert audit_columns([one, two]) == (
        ["a", "b"],
        ["k", None],
        ["twin.put", "b"],
        ["t1", "t2"],
        ["ok", "no"],
        ["x", "y"],
    )
