from __future__ import annotations

import pytest

from gemel.base.words import did_you_mean, nearest


@pytest.mark.parametrize(
    ("word", "meant"), [("HEAD", "head"), ("haed", "head"), ("motor.sped", "motor.speed"), ("x", None)]
)
def test_the_nearest_word_is_found_in_any_case(word: str, meant: str | None) -> None:
    assert nearest(word, ["head", "motor.speed", "label"]) == meant


def test_what_is_far_from_all_is_not_asked_about() -> None:
    assert did_you_mean("haed", ["head"]) == "Did you mean head?"
    assert did_you_mean("zzz", ["head"]) is None
    assert did_you_mean("head", []) is None
