"""Machine sounds that are generated from physical models."""
