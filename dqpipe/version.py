"""The version of dqpipe."""

__version__ = "0.1.0"
