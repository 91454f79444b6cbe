"""What stands in for the process that compiles, as texts of modules; see `stand_in`."""

from __future__ import annotations

BEGIN = """
import os, signal, socket, sys, time
from ovms_mp.isolation import frames, worker
link = worker.connect(sys.argv)
"""
HURRY = """
import os
try:
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.sched_setaffinity(0, range(os.cpu_count()))
except PermissionError:
    pass
"""
HURRIES = f"""{HURRY}
from ovms_mp.inference import compiler
compiler.main()
"""
"""The process itself, which a machine that is busy with something else keeps from its
work no more than others, where that is allowed.
"""
PATIENCE = 600
"""Seconds: longer than any of these tests may take."""
SLEEPS = BEGIN + "frames.receive(link)\ntime.sleep(600)\n"
"""Long enough to be ended by somebody else, within the test's own limit."""
