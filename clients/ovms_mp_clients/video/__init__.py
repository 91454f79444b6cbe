"""The command-line video client; it alone needs OpenCV, and only once it runs."""
