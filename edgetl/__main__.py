"""`python -m edgetl`."""

from edgetl.cli.main import main

main()
