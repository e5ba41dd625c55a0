"""A run: measured, related, judged, decided, applied, published."""
