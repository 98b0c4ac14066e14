# Two commands for everybody: `make demo` and `make test`. The rest is for those who work on scap.
GO       ?= go
PACKAGES  = php8.2-fpm php8.2-cli php-apcu php8.2-sqlite3 php8.2-intl php8.2-mbstring php8.2-xml php8.2-curl \
            mediawiki nginx-light haproxy memcached rsync sqlite3 openssh-server openssh-client
TOOLS     = .tools/bin
LINT      = $(TOOLS)/golangci-lint

.PHONY: build demo test accept bench lint deps

build: ## bin/scap and the static bin/scap-agent beside it
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/scap ./cmd/scap-agent

demo: build ## a deploy and a rolled back one on an embedded fleet; no root, about a minute
	bin/scap demo

test: deps build lint ## everything, the real parts included
	$(GO) vet ./...
	$(GO) test -race -timeout 20m -p 2 ./...

accept: deps build ## the whole acceptance table on the real fleet
	SCAP_ACCEPT=1 $(GO) test -count=1 -v -timeout 80m -run 'Accept|Control' ./fixtures/real/... ./cmd/scap/...

bench: deps build ## against rsync, interleaved in one run: medians and ratios
	$(GO) test -count=1 -run '^$$' -bench . -benchtime 1x -timeout 60m ./cmd/scap/ ./sync/store/

lint: $(LINT)
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

deps: ## Debian's packages that the tests run for real; starts none of their services
	.ci/deps $(PACKAGES)
