"""Graphs in one's own process, without a server; the server is made of it, too."""
