"""``python -m asdbench``: the command line without its script."""

from asdbench.cli import main

if __name__ == "__main__":
    main()
