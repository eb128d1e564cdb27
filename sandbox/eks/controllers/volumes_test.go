package controllers

import "testing"

func TestGibibytes(t *testing.T) {
	t.Parallel()
	for quantity, want := range map[string]int{"20Gi": 20, "1Ti": 1024, "3Ti": 3072} {
		if got, ok := gibibytes(quantity); !ok || got != want {
			t.Errorf("%s: got %d, %v", quantity, got, ok)
		}
	}
	for _, quantity := range []string{"", "Gi", "1536Mi", "20G", "1.5Gi"} {
		if got, ok := gibibytes(quantity); ok {
			t.Errorf("%q is %d", quantity, got)
		}
	}
}
