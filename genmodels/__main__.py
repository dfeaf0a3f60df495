"""`python -m genmodels`: the command."""

from genmodels.cli.main import main

main()
