"""How a test is undone: the sandbox, one server connection that every engine of the process shares during a test."""
