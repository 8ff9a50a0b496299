"""One file per verb; each step gets an Invocation, leaves its facts in the state, and raises what a person must know."""
