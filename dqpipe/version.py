"""The version of dqpipe."""

__version__ = "0.2.0"
