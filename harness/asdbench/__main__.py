"""``python -m asdbench``: the command line, without the installed script."""

from asdbench.cli import main

if __name__ == "__main__":
    main()
