"""MIMII and MIMII DUE, recordings of industrial machines."""
