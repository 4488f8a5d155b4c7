"""The one place that wires settings to parts: serving, and the operator's way in."""

from gemel.app.operator import Operator, operator
from gemel.app.serving import Listening, serve

__all__ = ["Listening", "Operator", "operator", "serve"]
