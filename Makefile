.PHONY: check format lint types test bench figures-of-readmes mutants boards

check: lint types test

format:
	ruff format
	ruff check --fix

lint:
	ruff format --check
	ruff check

types:
	mypy

test:
	pytest

bench:
	pytest benchmarks

# Runs the methods behind the measured numbers of the READMEs and writes both; ONLY=serial_oe for one of them.
figures-of-readmes:
	python tests/support/measured.py $(ONLY)

# Changes one setting of a paper at a time; a test must fail for each. ONLY=serial_oe for some of them.
mutants:
	python tests/mutants/run.py "$(ONLY)"

# Builds the published leaderboards again from the records in them; every figure is computed again first.
boards:
	python -m asdbench leaderboard build leaderboards/boards --out leaderboards/boards --recompute --printed
