"""Attacks on the files, the terminal and the servers of those who run dqpipe."""
