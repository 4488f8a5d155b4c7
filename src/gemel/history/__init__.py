"""Series and samples: the time rules, state, history, change feed, retention."""
