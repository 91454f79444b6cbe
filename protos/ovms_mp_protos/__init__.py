"""The wire's messages, in descriptor pools of their own.

Importing `kserve` or `graph` loads that group; importing this package loads nothing.
"""
