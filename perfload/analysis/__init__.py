"""What a run record means: totals, thresholds, validity, verdict. Works on old files too."""
