"""KServe v2 over gRPC: decode, ask, encode."""
