package config_test

import (
	"testing"

	"github.com/poolhouse/poolhouse/config"
)

func BenchmarkParse(b *testing.B) {
	src := []byte(example(b, "production.yaml"))
	for b.Loop() {
		if _, err := config.Parse("deployment.yaml", src); err != nil {
			b.Fatal(err)
		}
	}
}
