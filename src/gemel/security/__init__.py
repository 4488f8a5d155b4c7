"""Principals, scopes, keys, tokens, tenants and the audit trail."""
