"""Programs for those who work on gemel itself."""
