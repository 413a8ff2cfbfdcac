"""Fit and score jobs, the processes they run in, and the executors that start those."""
