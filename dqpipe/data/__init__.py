"""What flows through a run: tables, media, labels, splits, neighbours."""
