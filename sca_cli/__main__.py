"""`python -m sca_cli`: the program, for launchers that start modules (torchrun, accelerate)."""

from sca_cli.app import main

main()
