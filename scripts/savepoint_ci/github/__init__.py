"""GitHub's side: the runner's files, the event that started us, the API, and the one comment."""
