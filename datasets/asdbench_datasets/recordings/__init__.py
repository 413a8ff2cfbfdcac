"""A user's own recordings: where they are in a folder, their labels, what their headers give, and how they sound."""
