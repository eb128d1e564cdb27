package guard

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/stack"
)

// Stateful are the types whose replacement or removal loses data or cuts off
// what depends on them.
func Stateful() []string {
	return []string{
		"AWS::Backup::BackupVault", "AWS::EC2::VPC", "AWS::ECR::Repository", "AWS::EKS::Cluster", "AWS::KMS::Key",
		"AWS::RDS::DBInstance", "AWS::Route53::HostedZone", "AWS::S3::Bucket",
	}
}

// Loses tells that a change loses data, or does so depending on what is known only
// while it is made, and is refused unless that is allowed.
// All are the changes of its change set.
func Loses(c stack.Change, all []stack.Change) bool {
	switch c.Action {
	case stack.Replace, stack.Remove:
	case stack.MayReplace:
		if onlyInterrupts(c, all) {
			return false
		}
	case stack.Add:
		if !c.Drift {
			return false
		}
	default:
		return false
	}
	return slices.Contains(Stateful(), c.Type)
}

// interrupts are properties of a database that change sets list as replacing it
// conditionally, and whose change interrupts it at most.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-rds-dbinstance.html
var interrupts = []string{
	"AutoMinorVersionUpgrade", "BackupRetentionPeriod", "DBParameterGroupName", "MultiAZ", "PerformanceInsightsKMSKeyId",
	"PreferredMaintenanceWindow", "StorageType",
}

// onlyInterrupts tells that nothing that a change set lists as replacing a
// database does, or any resource by a name or ARN of one that is only modified.
// The zone that is taken away, as for a standby, moves nothing.
func onlyInterrupts(c stack.Change, all []stack.Change) bool {
	known := false
	for _, p := range c.Properties {
		if p.Recreates == "" || p.Recreates == "Never" {
			continue
		}
		if keeps(p.From, all) {
			known = true
			continue
		}
		if c.Type != "AWS::RDS::DBInstance" || !slices.Contains(interrupts, p.Path) && (p.Path != "AvailabilityZone" || p.After != "") {
			return false
		}
		known = true
	}
	return known
}

// keeps tells that a value comes from a resource that is modified, and so keeps
// its name and ARN.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-update-behaviors.html
func keeps(from string, all []stack.Change) bool {
	id, attribute, _ := strings.Cut(from, ".")
	if attribute != "" && attribute != "Arn" {
		return false
	}
	return slices.ContainsFunc(all, func(c stack.Change) bool {
		return c.LogicalID == id && (c.Action == stack.Modify || c.Action == stack.Sync)
	})
}

// Lost are the refusals for the changes of a stack that lose data.
func Lost(name string, changes []stack.Change) []Refusal {
	var all []Refusal
	for _, c := range changes {
		if Loses(c, changes) {
			all = append(all, losing(name, c))
		}
	}
	return all
}

func losing(name string, c stack.Change) Refusal {
	r := Refusal{Stack: name, Resource: c.LogicalID, Flag: Replace, Change: &c}
	loses, act := "would", string(c.Action)
	switch c.Action {
	case stack.Add:
		act = "re-create"
	case stack.MayReplace:
		loses, act = "may", string(stack.Replace)
	}
	r.Reason = fmt.Sprintf("the update %s lose data: %s %s (%s)", loses, act, c.LogicalID, c.Type)
	r.Fix = "undo what causes it in the file"
	if c.Drift {
		r.Reason += ", which somebody deleted"
		r.Fix = "see poolhouse drift; poolhouse update --keep-drift leaves it so"
	}
	return r
}

// lost refuses templates that no longer have what holds data, or have it under
// a name that makes it another one. A vault outlives its stack with all it
// holds; that there are no more backups is lowered's affair.
func lost(c Case, all []difference) []Refusal {
	named := map[string]struct{ property, path string }{
		"AWS::S3::Bucket":          {"BucketName", "storage."},
		"AWS::Route53::HostedZone": {"Name", "dns.zone"},
	}
	var out []Refusal
	for _, d := range all {
		if d.was == nil || !slices.Contains(Stateful(), d.typ) || d.goes && d.typ == "AWS::Backup::BackupVault" {
			continue
		}
		change := stack.Change{LogicalID: d.id, Type: d.typ, Action: stack.Remove}
		path := map[string]string{"AWS::ECR::Repository": "registry.repositories", "AWS::Route53::HostedZone": "dns.mode"}[d.typ]
		if n, ok := named[d.typ]; d.is != nil {
			if !ok || text(d.was.at(n.property)) == text(d.is.at(n.property)) {
				continue
			}
			change.Action = stack.Replace
			if path = n.path; d.typ == "AWS::S3::Bucket" {
				path += bucketKey(d.id) + ".name"
			}
		}
		r := losing(d.stack, change)
		if path != "" {
			f := c.Config.Fault(path, r.Reason, r.Fix)
			f.Reason = "is why " + f.Reason
			r.Fault = f
		}
		out = append(out, r)
	}
	return out
}

// bucketKey is the key below storage of a bucket's logical id.
func bucketKey(id string) string {
	id = strings.TrimSuffix(id, "Bucket")
	if id == "" {
		return ""
	}
	return strings.ToLower(id[:1]) + id[1:]
}
