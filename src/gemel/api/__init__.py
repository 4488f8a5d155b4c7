"""HTTP: the Azure Digital Twins data plane at the root, and Gemel's own routes under /v1."""
