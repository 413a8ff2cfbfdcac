"""Challenge files of DCASE: grades scores of any system by the official rules, and writes the files of a run."""
