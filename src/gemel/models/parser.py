"""Parses models: reads documents, follows references, checks every rule, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from gemel.models.checks import check_elements, check_values
from gemel.models.contexts import Options
from gemel.models.elements import Element
from gemel.models.errors import Report
from gemel.models.graph_rules import check_graph, import_inherited
from gemel.models.linker import link, undefined
from gemel.models.model_set import ModelSet
from gemel.models.reader import Reader

__all__ = ["Resolver", "parse"]

Resolver = Callable[[Sequence[str]], Iterable[object] | None]


def parse(
    documents: Sequence[object],
    known: ModelSet | None = None,
    *,
    allow_undefined_extensions: bool | None = None,
    max_dtdl_version: int = 4,
    resolve: Resolver | None = None,
    acceptable_limits: Sequence[str] = (),
) -> ModelSet:
    """Parse documents, each an interface or a list of them, into a set of models.

    A document is JSON as text or UTF-8 bytes, or decoded already; errors tell its index and line. `known`
    are models that the documents may refer to; the result holds both. An extension that nobody published is
    allowed as the version says (v2 allows, later ones do not), or as the caller says.
    `resolve` is called with the DTMIs that are referred to and nowhere defined, and gives further documents,
    or None; it is called again for what those refer to, until nothing is missing or it gives nothing more.
    `acceptable_limits` name the limit contexts that DTDL v4 models may choose.

    Raises ModelParsingError, with every rule that was found broken; then nothing is added.
    """
    report = Report()
    before = known.elements if known is not None else {}
    options = Options(allow_undefined_extensions, max_dtdl_version, tuple(acceptable_limits))
    reader = Reader(options, before, report)
    reader.read(documents)
    report.raise_if_any()
    if resolve is not None:
        _read_missing(reader, before, resolve)
    elements = reader.elements.values()
    link(reader.references, reader.elements, before, report)
    report.raise_if_any()
    check_values(elements, report)
    import_inherited([element for element in elements if element.rule.partition], report)
    check_elements(elements, report)
    check_graph(elements, report)
    report.raise_if_any()
    return ModelSet({**before, **reader.elements})


def _read_missing(reader: Reader, before: Mapping[str, Element], resolve: Resolver) -> None:
    """Ask for what is missing, each identifier once."""
    asked: set[str] = set()
    while wanted := [
        each for each in undefined(reader.references, reader.elements, before) if each not in asked
    ]:
        given = list(resolve(wanted) or ())
        if not given:
            return
        asked.update(wanted)
        reader.read(given)
        reader.report.raise_if_any()
