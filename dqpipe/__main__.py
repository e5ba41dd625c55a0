"""`python -m dqpipe`."""

from dqpipe.cli.main import main

main()
