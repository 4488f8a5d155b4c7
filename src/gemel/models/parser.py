"""Parses models: reads documents, follows references, checks every rule, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence

from gemel.models.checks import check_elements, check_values
from gemel.models.contexts import Options
from gemel.models.errors import Report
from gemel.models.graph_rules import check_graph, import_inherited
from gemel.models.linker import link
from gemel.models.model_set import ModelSet
from gemel.models.reader import Reader

__all__ = ["parse"]


def parse(
    documents: Sequence[object],
    known: ModelSet | None = None,
    *,
    allow_undefined_extensions: bool | None = None,
    max_dtdl_version: int = 4,
    acceptable_limits: Sequence[str] = (),
) -> ModelSet:
    """Parse decoded JSON documents, each an interface or a list of them, into a set of models.

    `known` are models that the documents may refer to; the result holds both. An extension that nobody
    published is allowed as the version says (v2 allows, later ones do not), or as the caller says.
    `acceptable_limits` name the limit contexts that DTDL v4 models may choose.

    Raises ModelParsingError, with every rule that was found broken; then nothing is added.
    """
    report = Report()
    before = known.elements if known is not None else {}
    options = Options(allow_undefined_extensions, max_dtdl_version, tuple(acceptable_limits))
    reader = Reader(options, before, report)
    reader.read(documents)
    report.raise_if_any()
    elements = reader.elements.values()
    link(reader.references, reader.elements, before, report)
    report.raise_if_any()
    check_values(elements, report)
    import_inherited([element for element in elements if element.rule.partition], report)
    check_elements(elements, report)
    check_graph(elements, report)
    report.raise_if_any()
    return ModelSet({**before, **reader.elements})
