"""The tool: provisions, migrates, runs the suite, reports. Runs in its own environment, made by `scripts/savepoint`."""
