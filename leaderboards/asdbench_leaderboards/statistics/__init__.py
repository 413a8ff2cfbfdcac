"""Whether methods differ: intervals and tests of differences, rank groups, and tests over machines."""
