"""Conformance: whether a plugin keeps its contract, found by building it, training it and scoring planted anomalies."""
