.PHONY: check format lint types test conformance docs fuzz coverage audit bench figures-of-readmes mutants boards board-records

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

# Every shipped method, scorer, featurizer and dataset against its contract. ONLY=idnn for those with this in their name.
conformance:
	pytest -n 0 -m '' tests/test_conformance_shipped.py -k '$(ONLY)'

# The documentation site, in build/site. A broken link or anchor is an error, as in CI.
docs:
	mkdocs build --strict

# 10,000 damaged files, other ones each time.
fuzz:
	pytest -n 0 -m slow tests/test_fuzzing.py

# Lines and branches of the tests' own process. What jobs run in processes of their own is not counted: those may write
# nothing but their results. ONLY='tests/test_a.py tests/test_b.py' for some tests.
coverage:
	pytest -n 0 --cov --cov-report=term:skip-covered $(ONLY)

# Known vulnerabilities of the pinned versions, from PyPI's advisories; needs the network, and `pipx install pip-audit`.
audit:
	pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

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

# Trains the methods of the published leaderboards again, and builds those from the new records. DATA holds
# dcase2020_modspec and ur3_cobotops. Options in the records must not name a folder of this machine, hence the variable.
board-records: export ASDBENCH_DATA_ROOT = $(DATA)
board-records: SEEDS = --seed 0 --seed 1 --seed 2
board-records:
	asdbench run -p logmel_knn -p logmel_gmm -p logmel_mahalanobis -p modspec_knn -p modspec_gmm -p modspec_mahalanobis -p modspec_lof -p covariance_knn -p randconv_knn -p idnn -d synthetic --threads 1 $(SEEDS)
	asdbench run -p conv_autoencoder -p autoencoder -p autoencoder_mse -p autoencoder_mahala -p mobilenetv2 -p glow_aff -d synthetic --threads 1 $(SEEDS)
	asdbench run -p direct_two_branch -p complex_network -p time_spectrum_fusion -p serial_method -p ddcsad -p serial_oe -p contrastive_ensemble -d synthetic --threads 1 $(SEEDS)
	asdbench run -p incremental_classifier -p uada -p aadcl -p stgram_mfn -p stgram_afpa -d synthetic --threads 2 $(SEEDS)
	asdbench run -p pca -p isolation_forest -p robot_ae -d synthetic_robot $(SEEDS)
	asdbench run -p pca -p isolation_forest -p robot_ae -d ur3_cobotops $(SEEDS)
	asdbench run -p 'waspp[variant=ststnet]' -p 'waspp[variant=wasppnet]' -d 'synthetic_faces[subjects=4]' --threads 1 $(SEEDS)
	asdbench run -p modspec_knn -p modspec_mahalanobis -d dcase2020_modspec --seed 0
	asdbench leaderboard build asdbench-runs --out leaderboards/boards --recompute --printed
