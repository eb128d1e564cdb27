package stack

import (
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/dynamic"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
	"github.com/poolhouse/poolhouse/sandbox/facts"
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
		Spent:      new(int),
	}
	for _, v := range d.Values {
		s.Parameters[v.Key] = v.Ref
	}
	s.Zones = zones(tx)
	bound, err := d.Template.Bind(s)
	if err != nil {
		return err
	}
	if err := bound.CheckRules(); err != nil {
		return err
	}
	trial := *bound
	bound.Spent = nil
	d.Scope = bound
	if d.Needs, err = bound.Dependencies(); err != nil {
		return err
	}
	if len(d.Needs) == 0 {
		return account.Errorf("ValidationError", "Template format error: At least one Resources member must be defined.")
	}
	trial.Import = func(name string) (string, bool) { return Export(tx, name) }
	references := 0
	for _, id := range slices.Sorted(maps.Keys(d.Needs)) {
		props, err := trial.Properties(d.Template.Resources[id])
		if err != nil {
			return err
		}
		n, err := dynamic.Check(d.Template.Resources[id].Type.Name, props)
		if err != nil {
			return err
		}
		if references += n; references > dynamic.Most {
			return account.Errorf("ValidationError", "Template validation error: the template has more than %d dynamic references", dynamic.Most)
		}
		if _, err := trial.UpdatePolicy(d.Template.Resources[id]); err != nil {
			return err
		}
		if _, err := trial.CreationPolicy(d.Template.Resources[id]); err != nil {
			return err
		}
	}
	_, err = trial.Outputs()
	return err
}

// zones are what Fn::GetAZs gives: the zones with a default subnet, or all if
// none has one.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-getavailabilityzones.html
func zones(tx *account.Tx) []string {
	isDefault := func(subnet *account.Resource) string { return facts.Text(subnet.Data["default"] == true) }
	var all, with []string
	subnets := tx.Where("AWS::EC2::Subnet", "default", isDefault, "true")
	for _, z := range tx.Zones() {
		all = append(all, z.Name)
		if slices.ContainsFunc(subnets, func(s *account.Resource) bool { return s.Attrs["AvailabilityZone"] == z.Name }) {
			with = append(with, z.Name)
		}
	}
	if len(with) > 0 {
		return with
	}
	return all
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
