from __future__ import annotations

import pytest

from gemel.base.errors import ForbiddenError, InvalidError
from gemel.security.principal import Principal, Scope, parse_scopes


@pytest.mark.parametrize("held", list(Scope))
@pytest.mark.parametrize("wanted", list(Scope))
def test_no_scope_implies_another(held: Scope, wanted: Scope) -> None:
    principal = Principal(1, "default", "k", "default", frozenset({held}))
    if held is wanted:
        principal.require(wanted)
    else:
        with pytest.raises(ForbiddenError, match=f"'{wanted}'") as caught:
            principal.require(wanted)
        assert caught.value.code == "ScopeMissing"


def test_scopes_are_parsed_by_name() -> None:
    assert parse_scopes(["read", "ingest", "read"]) == {Scope.READ, Scope.INGEST}


@pytest.mark.parametrize("names", [[], ["root"], ["read", ""], ["READ"]])
def test_unknown_scopes_and_none_at_all_are_refused(names: list[str]) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_scopes(names)
    assert caught.value.code == "InvalidArgument"
