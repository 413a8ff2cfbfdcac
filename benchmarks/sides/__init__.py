"""The two sides of a comparison, each a program of its own that does one round each time it is asked to."""
