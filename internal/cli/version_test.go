package cli

import (
	"runtime/debug"
	"testing"
)

func TestModuleVersion(t *testing.T) {
	t.Parallel()
	built := func(version, revision string) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: revision}}}
	}
	for _, tt := range []struct {
		name string
		info *debug.BuildInfo
		want string
	}{
		{"no build information", nil, "unknown"},
		{"released", built("v1.2.3", "0123456789abcdef"), "v1.2.3"},
		{"built here", built("(devel)", "0123456789abcdef"), "devel-0123456789ab"},
		{"short revision", built("(devel)", "0123"), "devel-0123"},
		{"no revision", built("(devel)", ""), "devel"},
		{"nothing known", &debug.BuildInfo{}, "devel"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := moduleVersion(tt.info); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
