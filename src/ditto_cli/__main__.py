"""`python -m ditto_cli` is the same as `ditto`."""

from ditto_cli.cli.app import main

main()
