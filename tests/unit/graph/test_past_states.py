"""The history of states, read back from spans, is what was told: against a list of the transitions."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from gemel.graph.lifecycle import STATES
from gemel.graph.past_states import PastState, ToldSpan, past_states
from gemel.graph.timeline import FOREVER_US, Span, Standing, Transition, split

END = 24
acts = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.sampled_from(STATES), st.integers(10, END)),
        st.tuples(st.just("model"), st.just(""), st.integers(10, END)),
        st.tuples(st.just("start"), st.just(""), st.integers(0, 9)),
    ),
    max_size=10,
)


class Ledger:
    """Rows as the database keeps them, and beside them each state that was told, with its fate."""

    def __init__(self) -> None:
        self.rows = [ToldSpan(Span(10, FOREVER_US, Standing("m0", {}, "active")), 100, FOREVER_US)]
        self.told: dict[int, tuple[str, str | None, int]] = {0: ("active", None, 100)}
        self.stamp = 100
        self.moments: dict[int, int] = dict.fromkeys(range(10, END + 1), 0)

    def known(self) -> list[Span]:
        spans = [row.span for row in self.rows if row.forgotten_us == FOREVER_US]
        return sorted(spans, key=lambda span: span.from_us)

    def tell(self, closed: list[Span], opened: list[Span]) -> None:
        self.rows = [
            row._replace(forgotten_us=self.stamp)
            if row.forgotten_us == FOREVER_US and row.span in closed
            else row
            for row in self.rows
        ]
        self.rows += [ToldSpan(span, self.stamp, FOREVER_US) for span in opened]

    def do(self, kind: str, state: str, at: int) -> None:
        self.stamp += 1
        spans = self.known()
        if kind == "turn":
            parted = split(spans, Transition(state, at, f"reason {self.stamp}", "who"))
            self.tell(parted.closed, parted.opened)
            if parted.closed:
                self.told[self.stamp] = (state, f"reason {self.stamp}", self.stamp)
                self.moments = {
                    moment: self.stamp if moment >= at else own for moment, own in self.moments.items()
                }
        elif kind == "model" and at > spans[-1].from_us:
            last = spans[-1]
            other = last.standing._replace(model_id=f"m{self.stamp}")
            self.tell([last], [last._replace(to_us=at), Span(at, FOREVER_US, other)])
        elif kind == "start" and at < spans[0].from_us:
            self.tell([spans[0]], [spans[0]._replace(from_us=at)])
            self.moments |= dict.fromkeys(range(at, 10), self.moments[spans[0].from_us])


@given(acts)
@example([("model", "", 11), ("model", "", 12), ("turn", "planned", 10), ("turn", "commissioned", 11)])
def test_every_told_state_is_in_the_history_once(told: list[tuple[str, str, int]]) -> None:
    ledger = Ledger()
    for act in told:
        ledger.do(*act)
    found = past_states(ledger.rows)
    listed = sorted((each.recorded_us, each.state, each.reason) for each in found)
    assert listed == sorted((stamp, state, reason) for state, reason, stamp in ledger.told.values())
    in_force = [each for each in found if each.superseded_us is None]
    for moment, own in ledger.moments.items():
        state, reason, recorded_us = ledger.told[own]
        holding = [each for each in in_force if each.from_us <= moment < each.to_us]
        assert [(each.state, each.reason, each.recorded_us) for each in holding] == [
            (state, reason, recorded_us)
        ]
    assert {each.recorded_us for each in in_force} == {ledger.told[own][2] for own in ledger.moments.values()}


def test_a_correction_supersedes_what_was_told_of_later() -> None:
    ledger = Ledger()
    ledger.do("turn", "maintenance", 15)
    ledger.do("turn", "active", 20)
    ledger.do("turn", "maintenance", 12)
    assert past_states(ledger.rows) == [
        PastState("active", 10, 12, None, None, 100, None),
        PastState("maintenance", 12, FOREVER_US, "reason 103", "who", 103, None),
        PastState("maintenance", 15, 20, "reason 101", "who", 101, 103),
        PastState("active", 20, FOREVER_US, "reason 102", "who", 102, 103),
    ]
