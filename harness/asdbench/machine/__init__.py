"""A detector for one's own machine: fitted on normal recordings, kept in one file, with a false-alarm rate that holds."""
