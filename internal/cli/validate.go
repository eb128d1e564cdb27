package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

// validation is what validate prints for machines.
type validation struct {
	File       string                   `json:"file"`
	Valid      bool                     `json:"valid"`
	Deployment string                   `json:"deployment,omitempty"`
	Region     string                   `json:"region,omitempty"`
	Profile    config.Profile           `json:"profile,omitempty"`
	Stacks     []architecture.StackName `json:"stacks,omitempty"`
	Deviations []architecture.Deviation `json:"deviations"`
	// Kubernetes is how its API is expected to be reached.
	Kubernetes *architecture.KubernetesAccess `json:"kubernetes,omitempty"`
	// Placeholders still stand for something of the user's own.
	Placeholders []config.Fault `json:"placeholders"`
	Faults       []config.Fault `json:"faults"`
}

func (a *app) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "validate FILE",
		Short:   "Check a deployment.yaml, without an account",
		Long:    "validate reports all faults of a deployment.yaml at once, each with its place,\nreason and fix. Of a valid file it names what differs from the reference\narchitecture.",
		GroupID: "file", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(_ *cobra.Command, args []string) error {
			v := validation{File: args[0], Deviations: []architecture.Deviation{}, Placeholders: []config.Fault{}, Faults: []config.Fault{}}
			arch, err := load(args[0])
			var faults config.Faults
			if errors.As(err, &faults) && a.output == "json" {
				v.Faults = faults
				if err := view.JSON(a.Out, v); err != nil {
					return err
				}
				return silent{Usage}
			}
			if err != nil {
				return err
			}
			c := arch.Config
			v.Valid, v.Deployment, v.Region, v.Profile = true, c.Name, c.Region, c.Profile
			access := arch.KubernetesAccess()
			v.Kubernetes = &access
			v.Deviations = append(v.Deviations, arch.Deviations...)
			v.Placeholders = append(v.Placeholders, c.Placeholders()...)
			for _, s := range arch.Stacks {
				v.Stacks = append(v.Stacks, s.Name)
			}
			return a.print(v, func() {
				fmt.Fprintf(a.Out, "ok: %s is %s in %s, profile %s, %s\n", args[0], c.Name, c.Region, c.Profile, view.Count(len(v.Stacks), "stack"))
				view.Kubernetes(a.Out, access)
				view.Deviations(a.Out, v.Deviations)
				view.Placeholders(a.Out, v.Placeholders)
			})
		},
	}
}
