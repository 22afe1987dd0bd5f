# make book    the site at quick scale (SCALE=full for the paper's), from a fresh clone to _build/site
# make pdf     the book on paper, from the built site
# make test    every test; STAGES="unit browser" for some of them
PYTHON ?= python3
SCALE  ?= quick
STAGES ?=
URL    ?=
REPOSITORY ?=

VENV  := .venv
BIN   := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help env book pdf links pictures test notebooks bench mutants clean

help:
	@echo "make book [SCALE=quick]  execute the chapters where they are out of date and render the site"
	@echo "make pdf                 the site as one PDF, with a table of contents and page numbers"
	@echo "make links               ask for every address outside the book; needs a network"
	@echo "make pictures            the README's pictures of a page"
	@echo "make test [STAGES=…]     lint, import rules, tests, chapters, site, browser"
	@echo "make notebooks           refresh committed outputs, results and generated tables that are out of date"
	@echo "make bench               training speed against other implementations"
	@echo "make mutants             break the library in one line, many times: do the tests notice?"
	@echo "make env                 only the environment in $(VENV), with PYTHON=$(PYTHON)"
	@echo "make clean               remove what was built; the environment (.venv) and measured points (.store) stay"

env: $(READY)

# An interpreter that is named, on the command line or in the environment, and is not that of $(VENV) gets a new one.
VERSION := 'import sys; print(sys.version_info[:2])'
ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) -c $(VERSION) 2>/dev/null),$(shell $(BIN)/python -c $(VERSION) 2>/dev/null))
ANEW := yes
.PHONY: $(READY)
endif
endif

# Installed again only when what is to be installed changes.
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python -a -z "$(ANEW)" \
	  || { $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' && $(PYTHON) -m venv --clear $(VENV); } \
	  || { echo "a virtual environment of Python 3.11 or newer is needed; name one: PYTHON=python3.12"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/python -c 'import matplotlib.pyplot' # builds its font cache, which would else warn in a chapter
	@! git rev-parse --git-dir >/dev/null 2>&1 \
	  || git config diff.ipynb.textconv 'f() { $(BIN)/python -m beyondloss.site.notebook --source "$$1" || cat "$$1"; }; f'
	@touch $@

book: env
	@$(BIN)/beyondloss build --scale $(SCALE) --url "$(URL)" --repository "$(REPOSITORY)"

pdf: book
	@$(BIN)/beyondloss pdf --scale $(SCALE)

links: env
	@$(BIN)/beyondloss links --scale $(SCALE)

pictures: book
	@$(BIN)/python -m beyondloss.site.readme_pictures

test: env
	@$(BIN)/python tests/run.py $(STAGES)

notebooks: env
	@$(BIN)/beyondloss notebooks

bench: env
	@$(BIN)/python tests/benchmarks/run.py

mutants: env
	@$(BIN)/python tests/mutants/run.py

clean:
	rm -rf _build .pytest_cache .ruff_cache .import_linter_cache
