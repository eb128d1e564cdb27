package guard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
)

// versionProperties are the properties, by type, that a version change is made
// of: those of the cluster, its nodes and add-ons, and those of the database.
// See https://docs.aws.amazon.com/eks/latest/userguide/update-cluster.html and
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_UpgradeDBInstance.PostgreSQL.MajorVersion.html
func versionProperties() map[string][]string {
	return map[string][]string{
		"AWS::EKS::Cluster":          {"Version"},
		"AWS::EKS::Nodegroup":        {"Version"},
		"AWS::EKS::Addon":            {"AddonVersion"},
		"AWS::RDS::DBInstance":       {"EngineVersion"},
		"AWS::RDS::DBParameterGroup": {"Family", "Description"},
	}
}

// IsVersion tells that a property is part of a version change.
func IsVersion(typ, property string) bool { return slices.Contains(versionProperties()[typ], property) }

// versions refuses steps that EKS and RDS don't take: a cluster goes up one
// minor version at a time and never back, a database never back to an older
// major version.
func versions(c Case, all []difference) []Refusal {
	var out []Refusal
	for _, d := range all {
		if d.was == nil || d.is == nil {
			continue
		}
		switch d.typ {
		case "AWS::EKS::Cluster":
			was, is := text(d.was.at("Version")), text(d.is.at("Version"))
			if c.Running != "" {
				was = c.Running
			}
			from, to := Minor(was), Minor(is)
			if from < 0 || to < 0 || to == from || to == from+1 {
				continue
			}
			reason, fix := fmt.Sprintf("would go from %s to %s: EKS takes one minor version at a time", was, is), fmt.Sprintf("write %q, update, and go on from there", Next(was))
			if to < from {
				reason, fix = fmt.Sprintf("would go from %s back to %s: EKS can't go back", was, is), fmt.Sprintf("write %q", was)
			}
			out = append(out, Refusal{Fault: c.Config.Fault("cluster.version", reason, fix), Stack: d.stack, Resource: d.id})
		case "AWS::RDS::DBInstance":
			was, is := text(d.was.at("EngineVersion")), text(d.is.at("EngineVersion"))
			if major(is) < major(was) {
				out = append(out, Refusal{
					Fault: c.Config.Fault("database.version", fmt.Sprintf("would go from %s back to %s: RDS can't go back", was, is), fmt.Sprintf("write %q", was)),
					Stack: d.stack, Resource: d.id,
				})
			}
		}
	}
	return out
}

// Minor is the second number of a version; -1 if it is none.
func Minor(version string) int {
	_, rest, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(rest)
	if err != nil {
		return -1
	}
	return n
}

func major(version string) int {
	first, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	if err != nil {
		return 0
	}
	return n
}

// Next is the minor version after one.
func Next(version string) string {
	first, _, _ := strings.Cut(version, ".")
	return first + "." + strconv.Itoa(Minor(version)+1)
}

// together refuses an upgrade of Kubernetes or of the database's major version
// in one update with anything else: what fails then is not known by what came
// with it. Versions of add-ons and what people look up follow the cluster's.
func together(c Case, all []difference) []Refusal {
	type subject struct {
		path, was, is string
		at            difference
	}
	var upgrades []subject
	var others []string
	for _, d := range all {
		if d.place == architecture.Parameters && strings.HasPrefix(d.id, "Versions") {
			continue
		}
		rest := 0
		for _, p := range d.changed() {
			if !IsVersion(d.typ, p) {
				rest++
			}
		}
		if rest > 0 || d.was == nil || d.is == nil {
			others = append(others, d.id)
		}
		if d.was == nil || d.is == nil {
			continue
		}
		switch d.typ {
		case "AWS::EKS::Cluster":
			was, is := text(d.was.at("Version")), text(d.is.at("Version"))
			if c.Running != "" {
				was = c.Running
			}
			if was != is {
				upgrades = append(upgrades, subject{"cluster.version", was, is, d})
			}
		case "AWS::RDS::DBInstance":
			if was, is := text(d.was.at("EngineVersion")), text(d.is.at("EngineVersion")); major(was) != major(is) {
				upgrades = append(upgrades, subject{"database.version", was, is, d})
			}
		}
	}
	var out []Refusal
	for _, u := range upgrades {
		with := fmt.Sprintf("%d other resources (%s)", len(others), excerpt(others))
		switch {
		case len(upgrades) > 1:
			with = "another version"
		case len(others) == 0:
			continue
		case len(others) == 1:
			with = others[0]
		}
		out = append(out, Refusal{
			Fault: c.Config.Fault(u.path, fmt.Sprintf("would go from %s to %s in one update with %s", u.was, u.is, with),
				fmt.Sprintf("write %q, update, and change the version in an update of its own", u.was)),
			Stack: u.at.stack, Resource: u.at.id, Flag: Mixed,
		})
	}
	return out
}

// excerpt names the first few of a list.
func excerpt(list []string) string {
	const few = 3
	if len(list) > few {
		return strings.Join(list[:few], ", ") + " ..."
	}
	return strings.Join(list, ", ")
}

// Upgrades tells that the cluster's template asks for another version than the
// deployed one, so that it matters what the control plane runs.
func Upgrades(c Case) bool {
	old, next := parse(c.Before[architecture.Cluster].Body), parse(c.After[architecture.Cluster].Body)
	for id, was := range old.Resources {
		if is := next.Resources[id]; is != nil && was.Type == "AWS::EKS::Cluster" && text(was.at("Version")) != text(is.at("Version")) {
			return true
		}
	}
	return false
}

// Pending are the resources in which a case differs by more than the versions of
// Kubernetes: of the cluster, its nodes and its add-ons, and what people look up of
// them. GPU nodes that aren't there yet are none of them.
func Pending(c Case) []string {
	kubernetes := []string{"AWS::EKS::Cluster", "AWS::EKS::Nodegroup", "AWS::EKS::Addon"}
	var out []string
	for _, d := range compare(c) {
		switch {
		case d.place == architecture.Parameters && strings.HasPrefix(d.id, "Versions"), d.place == architecture.GPU && d.begins:
			continue
		case d.was != nil && d.is != nil && slices.Contains(kubernetes, d.typ) && !slices.ContainsFunc(d.changed(), func(p string) bool { return !IsVersion(d.typ, p) }):
			continue
		}
		out = append(out, d.id+" in stack "+d.stack)
	}
	return out
}
