"""The past told: what made each value so, what happened to a twin, what differs between two moments."""
