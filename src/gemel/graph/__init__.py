"""Twins, components, relationships and models with the semantics of the Azure Digital Twins data plane."""
