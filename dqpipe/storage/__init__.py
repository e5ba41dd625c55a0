"""Where bytes lie: locations, locks, logs of lines, media files, the facts store."""
