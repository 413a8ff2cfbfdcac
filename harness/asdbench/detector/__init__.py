"""Featurizers, models and scorers: their contracts, the data they see, training, and the detector they form."""
