# `make check` is all that CI checks.
.PHONY: check audit sums
check:
	ruff check .
	ruff format --check .
	mypy
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile

# Known vulnerabilities of the pinned packages (pip install pip-audit). A package that can't be looked up is an error too.
# Not part of `check`: what is found appears overnight, on commits that changed nothing.
audit:
	timeout 120 python -m pip_audit -r requirements-test.txt --no-deps --disable-pip --strict --progress-spinner off

# After a change of what ships.
sums:
	cd checkpoints && git ls-files '*.pt' ../texturenet/lite.pt | xargs sha256sum > SHA256SUMS
