"""Where shards are measured: executors, and flows."""
