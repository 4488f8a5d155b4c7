"""What models say of relationships that are there: where they may lead, how many there may and must be. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gemel.base.errors import InvalidError
from gemel.models import Relationship, TwinType
from gemel.models.model_set import ModelSet

__all__ = [
    "Fits",
    "LinkFault",
    "Links",
    "Multiplicities",
    "of_any_version",
    "outgoing_faults",
    "unmet_minimums",
    "wrong_target",
]

Fits = Callable[[str, str], bool]
"""Says whether twins of a model (first) may be where a relationship names another (second) as its target."""


class Links(NamedTuple):
    """The relationships of one name from one twin to twins of one model, `example` the id of one of them."""

    name: str
    target_model: str
    number: int
    example: str


class LinkFault(NamedTuple):
    """What is wrong with relationships of one name: the kind of fault, and a message."""

    kind: str
    name: str
    message: str


def outgoing_faults(links: Sequence[Links], twin_type: TwinType, fits: Fits) -> Iterator[LinkFault]:
    """Yield what a type does not have of the relationships of one of its twins, or has otherwise."""
    for each in links:
        relationship = twin_type.relationships.get(each.name)
        if relationship is None:
            said = f"The model {twin_type.model} has no relationship named {each.name}: {_listed(each)}."
            yield LinkFault("relationship", each.name, said)
        elif wrong_target(relationship, each.target_model, fits):
            said = f"The relationship {each.name} leads to twins of {relationship.target}, and {each.target_model}"
            yield LinkFault("target", each.name, f"{said} is none: {_listed(each)}.")
    for name, count in _totals(links).items():
        relationship = twin_type.relationships.get(name)
        most = relationship.max_multiplicity if relationship is not None else None
        if most is not None and count > most:
            said = f"The twin has {_so_many(count, name)}, and {twin_type.model} allows {most}."
            yield LinkFault("maxMultiplicity", name, said)


def unmet_minimums(links: Sequence[Links], twin_type: TwinType) -> Iterator[LinkFault]:
    """Yield the relationships of a type of which a twin has too few."""
    totals = _totals(links)
    for relationship in twin_type.relationships.values():
        if totals[relationship.name] < relationship.min_multiplicity:
            said = f"The twin has {_so_many(totals[relationship.name], relationship.name)}, "
            said += f"and {twin_type.model} wants at least {relationship.min_multiplicity}."
            yield LinkFault("minMultiplicity", relationship.name, said)


def wrong_target(relationship: Relationship, target_model: str, fits: Fits) -> bool:
    """Say whether a relationship may not lead to twins of a model."""
    return relationship.target is not None and not fits(target_model, relationship.target)


def of_any_version(models: ModelSet) -> Fits:
    """Return the rule that passes over versions: a twin fits that would if one of its models were another version."""

    def fits(model_id: str, target: str) -> bool:
        if model_id not in models:
            return False
        path = _path(target)
        return any(_path(each) == path for each in (model_id, *models.interface(model_id).bases))

    return fits


class Multiplicities:
    """Counts relationships by source and name while they are put, and refuses the one too many."""

    def __init__(self, counts: dict[tuple[int, str], int]) -> None:
        self._counts = counts

    @property
    def none(self) -> bool:
        """Whether there are none at all."""
        return not any(self._counts.values())

    def admit(self, source: tuple[int, str], relationship: Relationship, replaced: str | None) -> None:
        """Count a relationship of a twin (number and id) that is put in the place of one named `replaced`, or of none.

        Raises InvalidError (MaxMultiplicityExceeded), and then counts nothing.
        """
        twin_no, twin_id = source
        most, name = relationship.max_multiplicity, relationship.name
        if name == replaced:
            return
        count = self._counts.get((twin_no, name), 0)
        if most is not None and count >= most:
            raise InvalidError(
                "MaxMultiplicityExceeded",
                f"The twin {twin_id} has {_so_many(count, name)}, and its model allows {most}.",
                "Delete one, or put the new one under its id.",
            )
        self._counts[twin_no, name] = count + 1
        if replaced is not None:
            self._counts[twin_no, replaced] = self._counts.get((twin_no, replaced), 0) - 1


def _totals(links: Sequence[Links]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for each in links:
        totals[each.name] += each.number
    return totals


def _so_many(count: int, name: str) -> str:
    return f"{count} relationship{'' if count == 1 else 's'} named {name}"


def _listed(links: Links) -> str:
    return links.example if links.number == 1 else f"{links.example} and {links.number - 1} more"


def _path(dtmi: str) -> str:
    return dtmi.rpartition(";")[0] or dtmi
