package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/config"
)

// version is what the version command prints.
type version struct {
	Version    string `json:"version"`
	Go         string `json:"go"`
	Platform   string `json:"platform"`
	FileFormat string `json:"fileFormat"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", GroupID: "self", Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			info, _ := debug.ReadBuildInfo()
			v := version{moduleVersion(info), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, config.APIVersion}
			return a.print(v, func() {
				fmt.Fprintf(a.Out, "poolhouse %s, %s, %s, reads %s\n", v.Version, v.Go, v.Platform, v.FileFormat)
			})
		},
	}
}

// moduleVersion is the release that was built, or the revision.
func moduleVersion(info *debug.BuildInfo) string {
	switch {
	case info == nil:
		return "unknown"
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		return info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && s.Value != "" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
