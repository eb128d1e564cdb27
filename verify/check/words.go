package check

import (
	"slices"
	"strings"
)

// Fixes that many checks name.
const (
	FixUpdate = "run poolhouse update with the deployment's file, which puts it back; if the change was meant, put it into the file"
	FixReach  = "find who changed the route, network ACL or security group that is named, in CloudTrail, and undo it; poolhouse update puts back what it knows of"
)

// OrNobody is a list of principals for people.
func OrNobody(list []string) string {
	if len(list) == 0 {
		return "nobody"
	}
	return strings.Join(list, ", ")
}

// OrNothing is a list for people.
func OrNothing(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// OrUnset is a setting for people.
func OrUnset(s string) string {
	if s == "" {
		return "not set"
	}
	return s
}

// YesNo is a truth value for people.
func YesNo(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// Listed is a list for people.
func Listed(items []string) string {
	if len(items) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(slices.Values(items)), ", ")
}
