"""HTTP on the REST port, on an event loop of its own."""
