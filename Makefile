.PHONY: check format lint types test bench mutants

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

ONLY =
mutants:
	python tests/mutants/run.py "$(ONLY)"
