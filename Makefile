# What one does with this repository. `make` alone lists it.

SECONDS_EACH ?= 60
SEED ?=
SCENARIO ?= fanout rooms tokens mixed
CONNECTIONS ?= 40000
LOADTEST = $${CARGO_TARGET_DIR:-target}/release/loadtest
BUILD := cargo build --package weft-gateway --package weft-executor --bins
# As images have them.
BUILD_STATIC = $(BUILD) --release --target $$(uname -m)-unknown-linux-musl

.DEFAULT_GOAL := help
.PHONY: help run run-nats run-redis console fetch test test-full chaos bench release load compare fleet conformance check-deploy ops-test sbom fuzz fmt lint clean

help: ## Shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Builds and starts a gateway and an executor, no broker needed; Ctrl-C ends all
	@deploy/dev/fetch.sh rust
	$(BUILD)
	@deploy/dev/run.sh memory

run-nats: ## The same with NATS and two gateways
	@deploy/dev/fetch.sh rust nats
	$(BUILD)
	@deploy/dev/run.sh nats

run-redis: ## The same with Redis and two gateways
	@deploy/dev/fetch.sh rust redis
	$(BUILD)
	@deploy/dev/run.sh redis

console: ## Builds the page that the gateway serves (Node.js 20); the gateway embeds it when it is built next
	@deploy/dev/fetch.sh node
	services/console/build.sh
	@echo "The console is in services/console/dist. Now build the gateway: $(BUILD)"

fetch: ## Fetches what the tests need, if it is missing
	@deploy/dev/fetch.sh

test: ## Everything quick: format, lint, all suites against real brokers, chaos of 20 s each, clients, console, documents
	@deploy/dev/fetch.sh
	@deploy/dev/test.sh

test-full: ## Everything: also clusters, sentinels, long chaos, long outages
	@deploy/dev/fetch.sh
	@deploy/dev/test.sh full

chaos: ## The long chaos run; SEED=n repeats one
	@deploy/dev/fetch.sh
	cargo build --workspace --bins
	WEFT_TEST_FULL=1 WEFT_TEST_SEED=$(SEED) cargo test --package weft-gateway --test chaos -- --include-ignored --nocapture --test-threads=1

bench: ## What a delivery and an idle connection cost the gateway (release build)
	@$(MAKE) --no-print-directory release
	$(LOADTEST) bench

release:
	cargo build --release --package weft-gateway --package weft-loadtest --bins

load: release ## Loads gateways: SCENARIO="tokens resume-storm"; writes load.html and load.json
	$(LOADTEST) run $(SCENARIO) --html load.html --json load.json

compare: release ## Weft beside nchan, Node's ws, Socket.IO and NATS; fetches them; writes compare.html
	$(LOADTEST) compare --html compare.html --json compare.json

fleet: release ## As many connections as the machine takes: CONNECTIONS=1000000; writes fleet.html
	$(LOADTEST) fleet --connections $(CONNECTIONS) --html fleet.html --json fleet.json

conformance: ## Runs others' WebSocket suites against our transport; needs Python 2.7 (says how)
	@deploy/dev/conformance.sh

check-deploy: ## Checks chart, manifests, images, dashboards and alerts, without a cluster
	@deploy/check.sh

ops-test: ## The rest of what operators rely on: images, alerts live, rolling restarts behind three proxies, kills; some twenty minutes, needs root
	@deploy/dev/fetch.sh rust musl redis nats node python
	$(BUILD)
	$(BUILD_STATIC)
	@$(MAKE) --no-print-directory release
	@table=$$(mktemp); export WEFT_TABLE=$$table; deploy/check.sh full; checked=$$?; deploy/ops.sh && exit $$checked

sbom: ## Writes what each program is made of, as CycloneDX, into target/sbom
	@python3 deploy/ci/sbom.py

fuzz: ## Fuzzes every decoder, and what reads tokens, for SECONDS_EACH=60; needs nightly and cargo-fuzz
	@deploy/dev/fuzz.sh $(SECONDS_EACH)

fmt: ## Formats the code
	cargo fmt --all

lint: ## Checks format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

clean: ## Removes everything built or fetched
	cargo clean
	rm -rf .cache
