"""`python -m cohortseg`."""

from cohortseg.cli.main import main

main()
