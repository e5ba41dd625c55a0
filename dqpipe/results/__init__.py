"""What a run leaves behind: versions, ledger, report, and how they are read again."""
