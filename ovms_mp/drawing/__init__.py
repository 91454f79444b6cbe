"""A graph as a picture: what is to be seen, where it stands, and how SVG says it. Nothing
here knows what a calculator is.
"""
