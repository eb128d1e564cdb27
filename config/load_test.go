package config_test

import (
	"path/filepath"
	"testing"

	"github.com/poolhouse/poolhouse/config"
)

func TestExamplesLoad(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			if _, err := config.LoadFile(file); err != nil {
				t.Error(err)
			}
		})
	}
}
