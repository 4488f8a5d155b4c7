"""The query language of Azure Digital Twins: parsed into a tree, compiled in passes to one SQL statement.

How values compare, and what happens where a twin has no such property, is said in `gemel.query.tree`.
"""

from gemel.query.compiler import analyse, compile_query
from gemel.query.run import Ask, QueryPage, run_query
from gemel.query.statement import Compiled

__all__ = ["Ask", "Compiled", "QueryPage", "analyse", "compile_query", "run_query"]
