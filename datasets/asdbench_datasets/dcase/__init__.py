"""DCASE Challenge Task 2, 2020 to 2025: the releases, their official tables and their ground truth."""
