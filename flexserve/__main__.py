"""`python -m flexserve`."""

from flexserve.cli import main

main()
