# Two commands for everybody: `make demo` and `make test`. The rest is for those who work on scap.
GO       ?= go
PACKAGES  = php8.2-fpm php8.2-cli php-apcu php8.2-sqlite3 php8.2-intl php8.2-mbstring php8.2-xml php8.2-curl \
            mediawiki nginx-light apache2-bin haproxy memcached rsync sqlite3 openssh-server openssh-client prometheus git ngircd prometheus-pushgateway
TOOLS     = .tools/bin
LINT      = $(TOOLS)/golangci-lint
MEMORY    = TMPDIR=$$([ -w /dev/shm ] && [ "$$(df --output=avail -m /dev/shm | tail -1)" -gt 4000 ] && echo /dev/shm || echo $${TMPDIR:-/tmp})

.PHONY: build demo test accept accept-php bench lint deps

build: ## bin/scap and the static bin/scap-agent beside it
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/ ./cmd/scap ./cmd/scap-agent

demo: build ## the old way, a backport, two that must not get far, a revert, on an embedded fleet; no root, about a minute
	bin/scap demo

# The real servers get both cores to themselves, after everything else; their trees are in memory, since making ten
# thousand files a host on a busy disk is most of the time.
test: deps build lint ## everything, the real parts included
	$(GO) vet ./...
	$(GO) test -race -timeout 20m -p 2 $$($(GO) list ./... | grep -v /fixtures/real$$)
	$(MEMORY) $(GO) test -race -timeout 30m ./fixtures/real

accept: deps build ## the whole acceptance table: the real fleet, kills at every record, a gigabyte of log
	SCAP_ACCEPT=1 $(GO) test -count=1 -v -timeout 60m -run 'Accept|CtrlC|Outlives|AtMostIsLost' ./cmd/scap
	SCAP_ACCEPT=1 $(MEMORY) $(GO) test -count=1 -v -timeout 10m -run 'Memory' ./canary/logs
	SCAP_ACCEPT=1 $(MEMORY) $(GO) test -race -count=1 -v -timeout 20m -run '^TestKilledAt' ./phases ./fixtures/fleet ./targets/fpm/keeper
	SCAP_ACCEPT=1 $(MEMORY) $(GO) test -count=1 -v -timeout 120m -run 'TestMediaWiki|TestAccept|TestHandover$$|TestFaults|KeepsItsPromisesByHandover' ./fixtures/real

PHP_ROOTS ?= /var/cache/scap-php
accept-php: ## the same on PHP 7.4 and 8.4, as the systems Debian 11 and 13 below PHP_ROOTS: fetched once, 800 MB; root only
	.ci/deps debootstrap
	SCAP_PHP_ROOTS=$(PHP_ROOTS) $(GO) test -count=1 -v -timeout 120m -run '^TestOtherPHP$$' ./fixtures/real

bench: deps build ## against rsync, interleaved in one run: medians and ratios; fails below 1.7x
	SCAP_BENCH=1 $(GO) test -count=1 -v -timeout 90m -run '^TestBench$$' ./fixtures/real
	SCAP_BENCH=1 $(MEMORY) $(GO) test -count=1 -v -timeout 30m -run '^TestBenchBackport$$' ./cmd/scap # yes to the first test server

lint: $(LINT)
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

deps: ## Debian's packages that the tests run for real; starts none of their services
	.ci/deps $(PACKAGES)
