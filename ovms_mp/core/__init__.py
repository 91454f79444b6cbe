"""The words that every layer speaks; no I/O, and no third party but numpy."""
