"""``python -m perception``: the command line."""

from perception.cli.commands import main

if __name__ == "__main__":
    main()
