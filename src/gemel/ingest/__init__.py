"""Events in: decode, resolve, validate, order, commit; quarantine."""
