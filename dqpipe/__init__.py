"""dqpipe: from raw data to a curated, explained, leak-free training set."""
