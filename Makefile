# Assay: build, demonstrate, test. Each target installs what it needs or says
# what is missing.
SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# Equal sources give equal bytes, wherever they are built: no paths, no build IDs, and
# of the checkout only what VERSION says.
LDFLAGS := -s -w -buildid= -X main.version=$(VERSION)
BIN ?= bin
FUZZTIME ?= 20s
# The firmware hashes every byte of the scanner in each bank of the TPM: small
# counts more than fast.
SCANNER_FLAGS := -trimpath -buildvcs=false -gcflags=all=-l -ldflags '-s -w -buildid='

.PHONY: build build-pkcs11 demo test e2e fleet-load fleet-rows matrix lint bench bench-check fuzz fuzz-some docs clean package release reproducible package-test boot-test container

build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN)/assay ./cmd/assay
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 $(GO) build $(SCANNER_FLAGS) -o $(BIN)/assay-scanner ./cmd/scanner
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 $(GO) build $(SCANNER_FLAGS) -o $(BIN)/assay-sender ./cmd/sender

# The program for keys in PKCS #11 tokens; modules are C libraries, so that it
# needs a C compiler and is not static.
build-pkcs11:
	CGO_ENABLED=1 $(GO) build -trimpath -ldflags '-s -w' -o bin/assay-pkcs11 ./cmd/assay-pkcs11

demo: build
	bash demo/demo.sh

test:
	bash tools/setup.sh
	$(GO) test -timeout 40m ./...

# Boots whole machines from our own stick, two at a time, and a management
# controller; eight minutes.
e2e: build
	bash tools/setup.sh e2e
	ASSAY_E2E=1 $(GO) test ./lab -run 'TestWholeMachines|TestController' -count 1 -parallel 2 -timeout 25m -v

# Audits a fleet that does not exist, on both stores, and prints what it took; N
# machines, one of a hundred tampered with. STORE=sqlite or postgres has only one.
# It fails when one that was tampered with is not named, or an honest one is.
N ?= 100000
fleet-load:
	bash tools/setup.sh
	ASSAY_LOAD_MACHINES=$(N) ASSAY_LOAD_STORE=$(STORE) $(GO) test ./fleet/load -run TestFleet -count 1 -v -timeout 24h

# Lists of machines in stores of very many rows, and how long they take: "make fleet-rows ROWS=100000".
ROWS ?= 1000000
fleet-rows:
	bash tools/setup.sh
	ASSAY_LOAD_ROWS=$(ROWS) ASSAY_LOAD_STORE=$(STORE) $(GO) test ./fleet/load -run TestRows -count 1 -v -timeout 24h

# Counts what verdicts detect, over all vectors at all levels of evidence, beside
# simpler ways to compare, and writes docs/efficacy.md.
matrix:
	$(GO) run ./cmd/assay-matrix -write

lint:
	bash tools/lint.sh

# All benchmarks, and in bench.txt, in the form that benchstat reads, those that
# docs/performance.md is about; then their ratios.
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...
	cd tools/bench && $(GO) test -run '^$$' -bench . -benchmem -count 5 -timeout 60m . | tee bench.txt
	cd tools/bench && $(GO) run ./ratios targets.tsv < bench.txt

# A short run of the ratios that are written down: fails when one is worse by a third.
bench-check:
	cd tools/bench && $(GO) test -run '^$$' -bench 'Quote|Appraisal|EventLog|Bundle$$|Manifest|Match|Inventory' -benchtime 100ms -count 5 . > bench.txt
	cd tools/bench && $(GO) run ./ratios -check targets.tsv < bench.txt

fuzz:
	FUZZTIME=$(FUZZTIME) bash tools/fuzz.sh

# A few of the targets for a short time, others with each commit; for CI.
fuzz-some:
	FUZZTIME=5s FUZZ_SOME=8 bash tools/fuzz.sh

# Regenerates what is made from the code: docs/findings.md, golden reports, the
# tables of docs/threat-model.md, and docs/dependencies.md.
docs:
	$(GO) test . ./finding ./report ./report/lines -run 'Golden|Docs' -update
	$(GO) run -C tools/deps .

# Packages, archives and their checksums in dist, of the checkout as it is; what release
# makes is the same, of a tagged commit only. ARGS: --arch amd64, -o DIR, --gpg-key ID.
package:
	bash tools/release.sh --snapshot $(ARGS)

release:
	bash tools/release.sh $(ARGS)

# Makes them twice, in two places, and compares every byte. ARGS: --arch amd64, --cold.
reproducible:
	bash tools/reproducible.sh $(ARGS)

# Installs the packages into a clean system, uses and removes them; as root on Debian.
package-test:
	bash tools/package-test.sh

# Boots a Debian system with a TPM in QEMU and follows docs/guide-install.md in it: the
# packages, their units, and their end; as root on Debian.
boot-test:
	bash tools/boot-test.sh

# Builds the container image, and runs it where that is possible.
container: build
	bash tools/container.sh

clean:
	rm -rf bin dist
