"""A run as a Prefect flow."""
