"""Prefect's tasks as an executor, and its embedded server."""
