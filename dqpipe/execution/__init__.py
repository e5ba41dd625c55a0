"""Execution: executors, worker processes, time limits, and decoding."""
