"""Mapping: what stands in foreign tables and payloads becomes events, by a file that says how."""
