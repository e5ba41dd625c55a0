"""Storage: locations on disks and object stores, locks, append-only logs, media files, and the
facts store.
"""
