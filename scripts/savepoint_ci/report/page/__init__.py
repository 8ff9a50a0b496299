"""report.html: one file with style, script and data inside, which asks the network for nothing."""
