"""What compat/perf/run is made of."""
