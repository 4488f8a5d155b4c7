"""Event routes: which changes go to which endpoints, as CloudEvents, each at least once and in order."""
