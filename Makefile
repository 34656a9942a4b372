# Targets for people. Each is a short call of a script or of the go command.

SHELL := /bin/bash
# The clusters' tests take longest and wait most, so they begin first.
MODULES := deploy/dev shared coordinator worker
PACKAGES := $(addsuffix /...,$(addprefix ./,$(MODULES)))
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X github.com/tradingflow/weather-station/shared/process.version=$(VERSION)
FUZZTIME ?= 10s
N ?= 100000
SEED ?= 1
COMMANDS ?= ./coordinator/cmd/... ./worker/cmd/... ./deploy/dev/cmd/...
# A clone of another user's has no version: git refuses to read it.
VCS := $(shell git status >/dev/null 2>&1 || echo -buildvcs=false)
BUILD := go build $(VCS) -trimpath -ldflags "$(LDFLAGS)" -o bin/
SERVERS := scripts/servers

.DEFAULT_GOAL := help
.PHONY: help build dev test test-unit lint check fuzz model sim mutants bench bench-go cluster-up cluster-down clean servers-install

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/coordinator, worker, stationctl, station-dev and station-links
	@mkdir -p bin
	$(BUILD) $(COMMANDS)

dev: ## run a whole cluster in one process, with the sample flows
	@mkdir -p bin
	$(BUILD) ./coordinator/cmd/stationctl ./deploy/dev/cmd/station-dev
	@exec bin/station-dev $(ARGS)

test: servers-install ## run every test, on real servers that are started for it
	STATION_TEST_REQUIRE=1 $(SERVERS) exec -- go test -timeout 30m -race -shuffle=on $(PACKAGES)

test-unit: ## run the tests that need no servers
	env -u STATION_TEST_REQUIRE -u STATION_TEST_ETCD_ENDPOINTS -u STATION_TEST_REDIS_URL -u STATION_TEST_RABBITMQ_URL -u STATION_TEST_SERVERS_DIR \
		go test -timeout 30m -race -shuffle=on $(PACKAGES)

lint: ## gofmt, go vet, staticcheck, luacheck, scripts
	scripts/check lint

check: ## lint, and build and tidy each module by itself
	scripts/check all

fuzz: ## run every fuzz test for FUZZTIME (10s)
	scripts/check fuzz $(FUZZTIME)

model: ## search the ledger's protocol model with one fault of any kind (needs spin)
	scripts/check model

sim: ## run N (100000) schedules of the protocol from SEED (1) on, with faults between any two calls
	go test -count=1 -timeout 0 -run '^TestSchedules$$' -v ./coordinator/internal/sim -sim.n $(N) -sim.seed $(SEED) $(if $(TRACE),-sim.trace)

mutants: ## build each broken reading of the protocol and demand that the simulation finds it
	scripts/check mutants

.PHONY: chaos chaos-short
chaos: servers-install ## run the fault matrix on real servers, hours; ARGS="--rows T1,T3 --n 10 --seed 7", or CHAOS=soak ARGS="--faults 1000"
	@mkdir -p bin
	$(BUILD) ./deploy/dev/cmd/station-chaos
	bin/station-chaos $(or $(CHAOS),run) $(ARGS)

chaos-short: servers-install ## run the short set of the fault matrix, minutes
	@mkdir -p bin
	$(BUILD) ./deploy/dev/cmd/station-chaos
	bin/station-chaos run --short $(ARGS)

bench: servers-install ## measure a private cluster beside the floor of its servers: ARGS="--runs 5 --only chain"
	@mkdir -p bin
	$(BUILD) ./coordinator/cmd/stationctl
	bin/stationctl bench --self $(or $(ARGS),--runs 3)

bench-go: servers-install ## run every Go benchmark once, on real servers: BENCHTIME=1x
	STATION_TEST_REQUIRE=1 $(SERVERS) exec -- go test -run '^$$' -bench . -benchmem -benchtime $(or $(BENCHTIME),1x) \
		$$(grep -rl --include='*_test.go' '^func Benchmark' $(MODULES) | sed 's|^|./|; s|/[^/]*$$||' | sort -u)

.PHONY: drill
drill: servers-install ## run every drill on a private cluster: REPEAT=, FAULTS=, SEED=, HA=1
	@scripts/drill

cluster-up: ## start real servers, 3 coordinators and 3 workers in .run/cluster
	scripts/cluster up

cluster-down: ## stop them
	scripts/cluster down

servers-install: ## install etcd, Redis and RabbitMQ by apt where missing
	@$(SERVERS) install

clean: ## remove what was built
	rm -rf bin
