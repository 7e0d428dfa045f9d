"""``python -m musicfw``: the command line."""

from musicfw.cli import main

main()
