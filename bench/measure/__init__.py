"""What bench/run does inside its environment."""
