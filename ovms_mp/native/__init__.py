"""MediaPipe's own runtime for nodes that only it has; it lives in worker processes."""
