"""`python -m dqpipe`."""

from dqpipe.cli import main

main()
