"""Load generators side by side: what a request costs in each of them, and how true its latencies are."""
