from __future__ import annotations

import base64

import pytest

from gemel.base.errors import EnvironmentFaultError, InvalidError
from gemel.routing.retries import delay_s, portion
from gemel.routing.signing import secret_bytes, signed_headers
from gemel.security.sealing import Sealer


def test_the_signature_is_that_of_the_published_example() -> None:
    """The example of the Standard Webhooks specification's reference libraries."""
    key = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    "bad", ["", "whsec_", "abc", "whsec_%%%", "whsec_" + base64.b64encode(b"x" * 23).decode()]
)
def test_what_is_no_secret_is_refused_and_not_repeated(bad: str) -> None:
    with pytest.raises(InvalidError) as raised:
        secret_bytes(bad)
    assert raised.value.code == "InvalidArgument"
    assert not bad or bad == "whsec_" or bad not in str(raised.value)


def test_retries_back_off_to_five_minutes_and_do_as_asked() -> None:
    assert [delay_s(n, 0.999999) for n in (1, 2, 3)] == pytest.approx([1, 2, 4], rel=1e-3)
    assert [delay_s(n, 0.0) for n in (1, 2, 9, 10, 1000)] == [0.5, 1.0, 128.0, 150.0, 150.0]
    assert delay_s(1, 0.0, asked_s=60) == 60
    assert delay_s(1, 0.0, asked_s=-5) == 0.5
    assert delay_s(1, 0.0, asked_s=1e9) == 3600
    assert [portion(n) for n in (0, 1, 2, 3, 1000)] == [100, 10, 1, 1, 1]


def test_a_sealed_secret_opens_in_its_place_alone() -> None:
    sealer = Sealer(b"k" * 32)
    sealed = sealer.seal(b"secret", "endpoint a of tenant 1")
    assert b"secret" not in sealed
    assert sealed != sealer.seal(b"secret", "endpoint a of tenant 1")
    assert sealer.open(sealed, "endpoint a of tenant 1") == b"secret"
    for other, place, box in (
        (sealer, "endpoint a of tenant 2", sealed),
        (Sealer(b"o" * 32), "endpoint a of tenant 1", sealed),
        (sealer, "endpoint a of tenant 1", sealed[:-1]),
        (sealer, "endpoint a of tenant 1", b""),
    ):
        with pytest.raises(EnvironmentFaultError) as raised:
            other.open(box, place)
        assert raised.value.code == "SecretUnreadable"
