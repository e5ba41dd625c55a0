"""pipeline.yaml: read, overridden, checked against a dataset, described by a JSON Schema."""
