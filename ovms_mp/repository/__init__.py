"""What should be served: the mounted configuration, read into frozen values."""
