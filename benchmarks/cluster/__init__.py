"""What reporting over a cluster costs: a worker that reports, and a master that takes the reports of many."""
