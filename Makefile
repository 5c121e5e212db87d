# The project's commands. `make help` lists them; `make test` is what continuous integration runs.
CARGO ?= cargo
# Seeds of the long simulation (make sim); the suite itself runs a few hundred.
SHIPBELL_SEEDS ?= 20000
# Kills of the long storm (make storm); the suite's has a few dozen.
SHIPBELL_STORM ?= 500
# How long `make fuzz` looks.
SHIPBELL_FUZZ_SECONDS ?= 60

.PHONY: help build test check lint demo sim storm bench bench-clock bench-runs bench-sources fuzz
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the binary for use: target/release/shipbell
	$(CARGO) build --release --locked

test: ## everything; as root it installs what is missing, otherwise it says what is
	@CARGO="$(CARGO)" tests/run.sh

check: ## the fast part: form, lints, unit tests
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(CARGO) test --locked --lib --test tidy

lint: ## form and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings

demo: ## the whole story in a temporary directory: commit, tests, staging, mail, production
	$(CARGO) run --locked -- demo

sim: ## the long simulation; SHIPBELL_SEEDS=N sets its length
	SHIPBELL_SEEDS=$(SHIPBELL_SEEDS) $(CARGO) test --release --locked --test simulation -- --nocapture
	SHIPBELL_YEARS=10 $(CARGO) test --release --locked --test simulation_clock -- --nocapture

storm: ## 500 times kill -9 under load, without and with systemd (as root), and once at every commit; SHIPBELL_STORM=N
	SHIPBELL_STORM=$(SHIPBELL_STORM) $(CARGO) test --locked --test faults fault_3 -- --nocapture
	SHIPBELL_STORM=$(SHIPBELL_STORM) $(CARGO) test --locked --test storm -- --nocapture
	SHIPBELL_STORM=$(SHIPBELL_STORM) $(CARGO) test --locked --test systemd storm -- --nocapture

bench: ## what a commit's way costs, beside floors; figures are in docs/performance.md
	$(CARGO) bench --locked --bench spine

bench-clock: ## what the clock costs, beside floors and peers; PARTS="start crowd all rest files ledger"
	$(CARGO) bench --locked --bench clock -- $(PARTS)

bench-runs: ## what runs cost, beside floors and systemd-run; PARTS="rates units launches workspaces flood busy"
	$(CARGO) bench --locked --bench runs -- $(PARTS)

bench-sources: ## what looking at repositories costs, beside git, libgit2 and Buildbot's call; PARTS="poll many push"
	$(CARGO) bench --locked --bench sources -- $(PARTS)

fuzz: ## random texts as schedules, imports and web hooks, guided by coverage; needs cargo-fuzz and a nightly toolchain
	@command -v cargo-fuzz >/dev/null || { echo "make fuzz: cargo-fuzz is missing: cargo install cargo-fuzz," \
	  "rustup toolchain install nightly. (make test has a short form that needs neither.)" >&2; exit 1; }
	cd fuzz && for target in schedule importers hook ls_refs urls refs; do \
	  $(CARGO) +nightly fuzz run $$target -- -max_total_time=$(SHIPBELL_FUZZ_SECONDS) || exit 1; done
