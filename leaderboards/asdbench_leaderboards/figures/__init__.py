"""Figures of a finished run, a module for each kind; docs/figures.md explains them."""
