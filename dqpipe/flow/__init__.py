"""A run as a Prefect flow, and its parts as tasks for flows of one's own."""

from dqpipe.flow.messages import FlowResult
from dqpipe.flow.prefect_flow import (
    Options,
    curate,
    name_of_run,
    run_flow,
    run_pipeline,
    standing_server,
    validate,
)

__all__ = [
    "FlowResult",
    "Options",
    "curate",
    "name_of_run",
    "run_flow",
    "run_pipeline",
    "standing_server",
    "validate",
]
