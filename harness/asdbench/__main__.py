"""The command line: ``python -m asdbench``, and the script ``asdbench``."""

import sys


def run() -> None:
    """Run the command line and exit with its status; Ctrl-C during its imports is an interruption like any other."""
    try:
        from asdbench.cli import main

        main()
    except KeyboardInterrupt:
        sys.stderr.write("asdbench: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    run()
