"""`make gates` and `make soak`: what the server has to bear, measured."""
