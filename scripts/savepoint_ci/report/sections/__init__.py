"""The parts of the report in Markdown, each from the report alone."""
