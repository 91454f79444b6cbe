"""Clients that know only the wire."""
