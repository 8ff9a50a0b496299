"""One suite on many machines: cut by time before the run, merged into one report after it."""
