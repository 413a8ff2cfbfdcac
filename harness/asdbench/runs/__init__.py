"""Runs, from request to document: plan, schedule, evaluate, record."""
