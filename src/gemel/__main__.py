"""Run the command line with `python -m gemel`."""

from __future__ import annotations

from gemel.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
