"""The wire: it knows protos and status codes, and decides nothing."""
