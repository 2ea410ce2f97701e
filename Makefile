# The edit loop: `make check` before every commit; `make test` is the whole gate's test run.
.PHONY: check test slow format

check:
	ruff check .
	ruff format --check .
	mypy
	pytest -n auto -m 'not slow and not rtl' -x

test:
	pytest

slow:
	pytest -m slow

format:
	ruff check --fix .
	ruff format .
