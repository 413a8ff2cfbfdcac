"""The regression gate: is a run worse than a baseline, beyond the noise of both?"""
