"""Run the command as a module: `python -m fatoura`."""

from fatoura.cli import main

main()
