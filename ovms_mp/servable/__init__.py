"""What is served: models, graphs, and the catalog where frontends find them."""
