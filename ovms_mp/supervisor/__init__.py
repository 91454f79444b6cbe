"""Several server processes on one port, kept alive, and seen as one server."""
