from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import UnauthenticatedError
from gemel.security.tokens import TENANT_MAX, digest, mint, parse_token

tenants = st.integers(0, TENANT_MAX)


@given(tenants, st.binary(min_size=5, max_size=5), st.binary(min_size=32, max_size=32))
def test_a_minted_token_parses_back(tenant: int, id_bytes: bytes, secret: bytes) -> None:
    key_id, token = mint(tenant, lambda n: {5: id_bytes, 32: secret}[n])
    assert parse_token(token) == (tenant, key_id)
    assert token.startswith("gk_")


def test_the_form_is_fixed() -> None:
    assert mint(71, bytes) == ("aaaaaaaa", "gk_1z_aaaaaaaa_" + "A" * 43)


@given(st.text() | st.from_regex(r"gk_[0-9a-z]{0,9}_[a-z2-7]{0,9}_[A-Za-z0-9_-]{40,44}"))
def test_any_other_text_is_refused_and_nothing_else_raises(text: str) -> None:
    try:
        parts = parse_token(text)
    except UnauthenticatedError:
        return
    assert 0 <= parts.tenant <= TENANT_MAX
    assert len(text.split("_", 3)[3]) == 43


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gk_",
        "gk_1_aaaaaaaa_",
        "gk_zzzzzz_aaaaaaaa_" + "A" * 43,
        "GK_1_aaaaaaaa_" + "A" * 43,
        "x" * 100_000,
    ],
)
def test_examples_that_are_refused(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        parse_token(text)


def test_the_digest_is_hmac_sha256_of_the_whole_token() -> None:
    assert digest(b"k", "gk_1") == hmac.new(b"k", b"gk_1", hashlib.sha256).digest()
    assert digest(b"k", "gk_1") != digest(b"l", "gk_1")
