"""``python -m darwin``."""

from darwin.cli import main

main()
