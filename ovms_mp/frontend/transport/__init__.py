"""Bytes in, bytes out: gRPC calls behind a seam that knows no proto."""
