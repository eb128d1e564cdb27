package eks

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func addonType() *account.Type {
	return &account.Type{
		Name: TypeAddon, Latency: "eks:addon",
		Row: func(r *account.Resource, op string) string {
			if op == "update" {
				op = "create"
			}
			return "eks:addon/" + op
		},
		Create: createAddon,
		Update: updateAddon,
		Settle: settleAddon,
		Delete: func(_ *account.Tx, r *account.Resource) error {
			if r.Status == "UPDATING" {
				return inUse("Addon %s cannot be deleted as it is currently being updated", props.Str(r.Props, "AddonName"))
			}
			r.Status = "DELETING"
			return nil
		},
	}
}

func addonID(cluster, name string) string { return cluster + "|" + name }

func createAddon(tx *account.Tx, r *account.Resource) error {
	p := r.Props
	c, err := activeCluster(tx, props.Str(p, "ClusterName"))
	if err != nil {
		return err
	}
	name := props.Str(p, "AddonName")
	if tx.Get(TypeAddon, addonID(c.ID, name)) != nil {
		return inUse("Addon already exists.")
	}
	a, ok := knownAddon(name)
	if !ok {
		return invalid("Addon %s specified is not supported in %s kubernetes version", name, props.Str(c.Data, "version"))
	}
	version, err := checkAddon(tx, c, a, p, "")
	if err != nil {
		return err
	}
	hex := tx.HexID(32)
	r.ID = addonID(c.ID, name)
	r.Status = "CREATING"
	r.Tags = props.Tags(p, "Tags")
	r.Attrs = map[string]any{"Arn": tx.ARN("eks", "addon/"+c.ID+"/"+name+"/"+hex[:8]+"-"+hex[8:12]+"-"+hex[12:16]+"-"+hex[16:20]+"-"+hex[20:])}
	r.Data = map[string]any{"version": version, "modified": tx.Now(), "updates": []any{}, "issues": []any{}}
	return nil
}

// checkAddon checks an add-on's properties and returns its version: the one
// asked for, else the current one, else the default.
func checkAddon(tx *account.Tx, c *account.Resource, a addon, p map[string]any, current string) (string, error) {
	offered := a.versions[props.Str(c.Data, "version")]
	version := props.Str(p, "AddonVersion")
	switch {
	case version == "" && current != "":
		version, offered = current, []string{current}
	case version == "" && len(offered) > 0:
		version = offered[0]
	}
	if !slices.Contains(offered, version) {
		return "", invalid("Addon version specified is not supported")
	}
	if v := props.Str(p, "ConfigurationValues"); strings.HasPrefix(strings.TrimSpace(v), "{") && !json.Valid([]byte(v)) {
		return "", invalid("The ConfigurationValues provided is not in valid YAML or JSON format.")
	}
	if props.Has(p, "PodIdentityAssociations") && len(props.List(p, "PodIdentityAssociations")) > 0 {
		return "", account.NotModelled("PodIdentityAssociations is not modelled by the sandbox")
	}
	if arn := props.Str(p, "ServiceAccountRoleArn"); arn != "" {
		parts := strings.SplitN(arn, ":", 6)
		if len(parts) == 6 && parts[4] != tx.AccountID() {
			return "", &account.Error{Code: "AccessDeniedException", Message: "Cross-account pass role is not allowed.", Status: 403}
		}
		if !iam.RoleExists(tx, arn) {
			return "", invalid("Role with arn: %s, could not be found", arn)
		}
	}
	return version, nil
}

func updateAddon(tx *account.Tx, r *account.Resource, next map[string]any) error {
	c, err := activeCluster(tx, props.Str(r.Props, "ClusterName"))
	if err != nil {
		return err
	}
	if r.Status == "CREATING" || r.Status == "UPDATING" || r.Status == "DELETING" {
		return inUse("Addon %s is in status %s", props.Str(r.Props, "AddonName"), r.Status)
	}
	a, _ := knownAddon(props.Str(r.Props, "AddonName"))
	version, err := checkAddon(tx, c, a, next, props.Str(r.Data, "version"))
	if err != nil {
		return err
	}
	r.Retag(next, "Tags")
	r.Status = "UPDATING"
	r.Data["version"], r.Data["modified"] = version, tx.Now()
	begin(tx, r, "AddonUpdate")
	return nil
}

// settleAddon ends an operation: what needs nodes is degraded without any.
func settleAddon(tx *account.Tx, r *account.Resource, op string) error {
	failure := degraded(tx, r)
	if op == "update" {
		finish(r, failure)
	}
	r.Data["issues"], r.Status = []any{}, "ACTIVE"
	if failure != nil {
		r.Data["issues"], r.Status = []any{failure}, "DEGRADED"
		return account.Errorf(props.Str(failure, "code"), "%s", props.Str(failure, "message"))
	}
	return nil
}

// degraded is what keeps an add-on from being ready, or nil.
// https://docs.aws.amazon.com/eks/latest/userguide/eks-add-ons.html
func degraded(tx *account.Tx, r *account.Resource) map[string]any {
	a, _ := knownAddon(props.Str(r.Props, "AddonName"))
	if !a.nodes {
		return nil
	}
	for _, n := range nodegroups(tx, props.Str(r.Props, "ClusterName")) {
		if n.Status == "ACTIVE" || n.Status == "UPDATING" {
			if size(tx, n) > 0 {
				return nil
			}
		}
	}
	return issue("InsufficientNumberOfReplicas", "The add-on is unhealthy because it doesn't have the desired number of replicas.")
}

// nodesChanged looks at the cluster's degraded add-ons again.
func nodesChanged(tx *account.Tx, cluster string) {
	for _, r := range tx.List(TypeAddon) {
		if props.Str(r.Props, "ClusterName") != cluster {
			continue
		}
		failure := degraded(tx, r)
		switch {
		case r.Status == "DEGRADED" && failure == nil:
			r.Status, r.Data["issues"] = "ACTIVE", []any{}
		case r.Status == "ACTIVE" && failure != nil:
			r.Status, r.Data["issues"] = "DEGRADED", []any{failure}
		}
	}
}
