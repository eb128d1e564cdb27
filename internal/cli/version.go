package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/config"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version    string `json:"version"`
				Go         string `json:"go"`
				Platform   string `json:"platform"`
				FileFormat string `json:"fileFormat"`
			}{"(unknown)", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, config.APIVersion}
			if info, ok := debug.ReadBuildInfo(); ok {
				v.Version = info.Main.Version
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" && v.Version == "(devel)" {
						v.Version = "devel-" + s.Value[:12]
					}
				}
			}
			return a.print(v, func() {
				fmt.Fprintf(a.Out, "poolhouse %s, %s, %s, reads %s\n", v.Version, v.Go, v.Platform, v.FileFormat)
			})
		},
	}
}
