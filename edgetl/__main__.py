"""`python -m edgetl`."""

from edgetl.cli.process import start

start()
