"""What the command line does besides serving; each command imports what it needs."""
