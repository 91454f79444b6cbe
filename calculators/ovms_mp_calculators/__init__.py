"""Calculators that enter the server as anybody's do: by entry points."""
