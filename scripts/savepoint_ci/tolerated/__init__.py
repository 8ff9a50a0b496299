"""What a team has decided to put up with: tests in quarantine until a date, and findings that are silenced for a reason."""
