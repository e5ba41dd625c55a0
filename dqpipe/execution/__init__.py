"""Where work is done: executors, worker processes, time limits, decoding."""
