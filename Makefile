# Assay: build, demonstrate, test. Each target installs what it needs or says
# what is missing.
SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 20s

.PHONY: build demo test lint bench fuzz docs clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/assay ./cmd/assay
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 $(GO) build -trimpath -ldflags '-s -w -buildid=' -o bin/assay-scanner ./cmd/scanner

demo: build
	bash demo/demo.sh

test:
	bash tools/setup.sh
	$(GO) test ./...

lint:
	bash tools/lint.sh

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

fuzz:
	FUZZTIME=$(FUZZTIME) bash tools/fuzz.sh

# Regenerates what is made from the code: docs/findings.md and golden reports.
docs:
	$(GO) test ./finding ./report -run 'Golden|Docs' -update

clean:
	rm -rf bin
