package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/drift"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/verify"
)

func (a *app) driftCommand() *cobra.Command {
	return &cobra.Command{
		Use: "drift FILE", Short: "Show what was changed behind the deployment's back, by whom, and what update does about it",
		Long:    "drift compares the account with what was deployed: resources that somebody changed or\ndeleted outside of CloudFormation, what verify finds besides, who it may have been as\nfar as CloudTrail says, and what poolhouse update would do about each. The exit code is 3 if there is drift. It\nchanges nothing.",
		GroupID: "look", Args: file, ValidArgsFunction: yamlFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, _, err := a.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer a.telling(&t)()
			found, err := findings(cmd.Context(), t)
			if err != nil {
				return err
			}
			r, err := drift.Look(cmd.Context(), drift.Options{Target: t, Findings: found})
			if err != nil {
				return err
			}
			if err := a.print(r, func() { view.Drift(a.Out, r, quoted(args[0])) }); err != nil {
				return err
			}
			if !r.Empty() {
				return silent{Pending}
			}
			return nil
		},
	}
}

// mostFindings is how many of a check's findings are told along with drift.
const mostFindings = 3

// findings are the required checks that fail: what CloudFormation can't see is
// among them. Where nothing stands there are none.
func findings(ctx context.Context, t deploy.Target) ([]drift.Finding, error) {
	rep, err := verify.Run(ctx, verify.Options{Architecture: t.Architecture, AWS: t.AWS, Level: verify.Required})
	var absent *verify.AbsentError
	if errors.As(err, &absent) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []drift.Finding
	for _, r := range rep.Failed(verify.Required) {
		n := 0
		for _, e := range r.Evidence {
			if e.OK {
				continue
			}
			if n++; n <= mostFindings {
				found = append(found, drift.Finding{ID: r.ID, Resource: e.Resource, Value: e.Saw, Want: e.Want, Fix: e.Fix})
			}
		}
		if n > mostFindings {
			last := &found[len(found)-1]
			last.Value = fmt.Sprintf("%s (and %d more: poolhouse verify --only %s)", last.Value, n-mostFindings, r.ID)
		}
	}
	return found, nil
}
