"""What earlier runs of the default branch say about each test, kept by the repository's own artifacts."""
