"""Sources of telemetry: what stands outside and is read into events."""
