package cli

import "testing"

// The goal of a mirror is where the registry is, which for Docker Hub is not its name.
func TestGoal(t *testing.T) {
	t.Parallel()
	for to, want := range map[string][2]string{
		"registry.example.com":            {"registry.example.com", ""},
		"registry.example.com:5000/a/b":   {"registry.example.com:5000", "a/b"},
		"docker.io/acme":                  {"registry-1.docker.io", "acme"},
		"docker.io":                       {"registry-1.docker.io", ""},
		"index.docker.io/acme":            {"registry-1.docker.io", "acme"},
		"registry-1.docker.io/acme/tools": {"registry-1.docker.io", "acme/tools"},
	} {
		m := mirror{to: to}
		if host, path, ok := m.goal(); !ok || host != want[0] || path != want[1] {
			t.Errorf("--to %s is %s and %s, %v", to, host, path, ok)
		}
	}
	for _, to := range []string{"mirror", "acme/mirror", "registry.example.com/"} {
		if host, _, ok := (&mirror{to: to}).goal(); ok {
			t.Errorf("--to %s is %s", to, host)
		}
	}
}
