"""What is wrong in a source, one family to a file."""
