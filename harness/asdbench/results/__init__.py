"""The results of runs: the store, the evaluator, documents and records."""
