"""Gemel: a digital twin platform that answers what is, what was and what would be."""

__version__ = "0.1.0"
