from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.exceptions import MethodNotAllowedException, NotFoundException, ValidationException

from gemel.api.failures import STATUSES, answer, as_error, status_of
from gemel.base.codes import CODES
from gemel.base.errors import (
    Detail,
    GemelError,
    InvalidError,
    OverloadedError,
    UnauthenticatedError,
    UnavailableError,
)


@pytest.mark.parametrize(("kind", "status"), list(STATUSES.items()))
def test_each_class_of_error_has_its_status(kind: type[GemelError], status: int) -> None:
    response = answer(kind("InternalError", "It broke.", "Mend it."))
    assert response.status_code == status
    assert response.headers["x-ms-error-code"] == "InternalError"
    body = json.loads(response.content)
    assert body == {"error": {"code": "InternalError", "message": "It broke. Mend it."}}


def test_some_codes_say_more_than_their_class() -> None:
    assert status_of(InvalidError("MediaTypeUnsupported", "")) == 415
    assert status_of(InvalidError("MethodNotAllowed", "")) == 405


def test_headers_say_when_to_try_again_and_how_to_authenticate() -> None:
    assert answer(OverloadedError("Overloaded", "", retry_after_s=3)).headers["Retry-After"] == "3"
    assert answer(UnavailableError("DatabaseUnavailable", "")).headers["Retry-After"] == "1"
    assert answer(UnauthenticatedError("TokenInvalid", "")).headers["WWW-Authenticate"] == "Bearer"


def test_details_are_told_one_by_one() -> None:
    error = InvalidError("ValidationFailed", "Two.", details=(Detail("A", "one"), Detail("B", "two")))
    body = json.loads(answer(error).content)["error"]
    assert body["details"] == [{"code": "A", "message": "one"}, {"code": "B", "message": "two"}]


@given(st.text(st.characters(exclude_categories=[])))
def test_any_message_can_be_told(text: str) -> None:
    body = json.loads(answer(InvalidError("InvalidArgument", text)).content)
    assert isinstance(body["error"]["message"], str)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (NotFoundException(), "RouteNotFound", 404),
        (MethodNotAllowedException(headers={"allow": "GET"}), "MethodNotAllowed", 405),
        (RecursionError(), "BodyMalformed", 400),
        (ValueError("secret detail"), "InternalError", 500),
        (
            ValidationException("Missing required header parameter 'Message-Id' for path /x"),
            "MissingArgument",
            400,
        ),
        (ValidationException("x", extra=[{"key": "limit", "message": "too big"}]), "InvalidArgument", 400),
        (ValidationException("x", extra={}), "InvalidArgument", 400),
    ],
)
def test_what_others_raise_becomes_ours(error: Exception, code: str, status: int) -> None:
    ours = as_error(error)
    assert (ours.code, status_of(ours)) == (code, status)
    assert code in CODES
    assert "secret" not in answer(ours).content.decode()


def test_parameters_that_are_wrong_are_named() -> None:
    extra = [{"key": "limit", "message": "too big"}, {"message": "odd"}]
    error = as_error(ValidationException("x", extra=extra))
    assert error.message == "limit: too big; odd."
    assert [detail.message for detail in error.details] == ["limit: too big", "odd"]
