"""MongoDB as a monitor: server counters, collections, operations and replication, and its profiler."""
