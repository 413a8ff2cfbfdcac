"""Leaderboards: built from records, published as static pages, verified from the scores of items."""
