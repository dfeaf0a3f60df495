"""`python -m genmodels`: the command."""

from genmodels.cli.main import main

if __name__ == "__main__":
    main()
