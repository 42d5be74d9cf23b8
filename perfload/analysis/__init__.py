"""What a run record means: totals, thresholds, validity, verdict. Works on last month's files as on today's."""
