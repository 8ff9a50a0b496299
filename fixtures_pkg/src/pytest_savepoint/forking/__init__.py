"""Workers that are forked from one process that has imported the libraries.

The controller (`workers`) starts `server` early and tells it which library modules it has imported itself. xdist then
starts, instead of a Python per worker, a `stub`, which hands its streams, environment and folder to the server and waits
for the end of the worker that the server forks. Where that is not possible the stub becomes the Python that was wanted.
"""
