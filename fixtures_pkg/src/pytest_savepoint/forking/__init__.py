"""Workers that are forked from one process that has imported the libraries.

The controller (`workers`) forks itself into a `server` before it has imported anything of the project, or starts one
where it has, and tells it which library modules it imports itself. Where xdist then has execnet start a Python per
worker, the server is asked for a fork (`gateway`). Where that is not possible, execnet does as it always does.
"""
