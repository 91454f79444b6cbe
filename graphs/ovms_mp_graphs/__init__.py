"""Subgraphs that come with the server: each pbtxt file here, in any folder, is one, and
nodes name it by its `type`.
"""
