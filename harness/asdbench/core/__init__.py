"""The base of all other packages: configuration, files, fingerprints, seeds, the environment."""
