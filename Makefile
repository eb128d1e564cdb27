# Named checks. `make` runs what CI runs on every change; each check runs alone
# by its name.
.PHONY: all build test race format vet lint generated tidy budget templates manifests kics bench

all:
	.ci/run

build:
	go build -trimpath -ldflags=-s -o poolhouse ./cmd/poolhouse

test format vet lint race generated tidy budget templates manifests kics bench:
	.ci/run $@
