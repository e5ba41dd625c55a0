"""Reviewing on a page: `dqpipe review OUT`.

A version is looked at through a `Sight` (pictures, rows, neighbours); verdicts are `Heard`; a `Desk` makes the queue and the items
of both, and takes verdicts; the server hands them to page.html.
"""
