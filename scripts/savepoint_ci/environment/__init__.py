"""The caller's environment: which one it is, what the project needs in it, and what we add."""
