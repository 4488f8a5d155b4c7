"""The command line: one module for each group of commands, each command a thin call."""

from __future__ import annotations

from gemel.cli.root import app, main

__all__ = ["app", "main"]
