"""Contracts of data: what a producer promises about its samples, in versions, and whether samples keep it."""
