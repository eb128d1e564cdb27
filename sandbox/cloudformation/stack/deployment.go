package stack

import (
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
)

// Deployment is what a request asked for. It never changes.
type Deployment struct {
	Template      *template.Template
	Values        []template.Value
	Tags          map[string]string
	Capabilities  []string
	Role          string
	Notifications []string
	Needs         map[string][]string // live resources with their dependencies
	Scope         *template.Scope     // parameters and conditions; knows no resources
	// Revert brings resources that have drifted back to the template.
	Revert bool
}

// Bind evaluates conditions and dependencies, and everything else with what is
// unknown, so that a fault in the template comes to light.
func (d *Deployment) Bind(tx *account.Tx, stackID, stackName string) error {
	s := expression.Scope{
		Pseudo: expression.Pseudo{
			AccountID: tx.AccountID(), Region: tx.Region(), Partition: tx.Partition(), URLSuffix: urlSuffix(tx.Partition()),
			StackID: stackID, StackName: stackName, NotificationARNs: d.Notifications,
		},
		Parameters: make(map[string]any, len(d.Values)),
	}
	for _, v := range d.Values {
		s.Parameters[v.Key] = v.Ref
	}
	for _, z := range tx.Zones() {
		s.Zones = append(s.Zones, z.Name)
	}
	bound, err := d.Template.Bind(s)
	if err != nil {
		return err
	}
	d.Scope = bound
	if d.Needs, err = bound.Dependencies(); err != nil {
		return err
	}
	if len(d.Needs) == 0 {
		return account.Errorf("ValidationError", "Template format error: At least one Resources member must be defined.")
	}
	trial := *bound
	trial.Import = func(name string) (string, bool) { return Export(tx, name) }
	for _, id := range slices.Sorted(maps.Keys(d.Needs)) {
		if _, err := trial.Properties(d.Template.Resources[id]); err != nil {
			return err
		}
		if _, err := trial.UpdatePolicy(d.Template.Resources[id]); err != nil {
			return err
		}
	}
	_, err = trial.Outputs()
	return err
}

func urlSuffix(partition string) string {
	if partition == "aws-cn" {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// Secrets adds the values of a deployment's NoEcho parameters to those known.
func Secrets(known []string, d *Deployment) []string {
	for _, p := range d.Values {
		for _, v := range []string{p.Given, p.Resolved} {
			if p.NoEcho && v != "" && !slices.Contains(known, v) {
				known = append(slices.Clip(known), v)
			}
		}
	}
	return known
}
