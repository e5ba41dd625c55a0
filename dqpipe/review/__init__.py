"""Review of samples by people.

The page of `dqpipe review OUT`, audits, verdicts applied to a run, exchange with labelling tools.

`sample_view` renders the samples of a version, `verdict_log` follows the verdicts, `review_queue`
orders the samples to review and stores new verdicts, and `server` serves all of it to page.html.
"""
