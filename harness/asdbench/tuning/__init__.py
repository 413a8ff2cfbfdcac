"""Tuning: chooses a method's options by trials that see no test label."""
