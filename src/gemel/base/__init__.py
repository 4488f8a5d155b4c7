"""The ground floor: errors, codes, clock, settings."""
