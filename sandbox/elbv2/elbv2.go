// Package elbv2 simulates Elastic Load Balancing version 2: application load
// balancers, target groups, listeners and their rules.
//
// Invariants: a load balancer lies in subnets of one VPC in two zones and holds
// an interface in each; a target group serves one load balancer and can't be
// deleted while a listener or rule forwards to it; listener ports and rule
// priorities are unique; listeners and rules go with their load balancer, whose
// interfaces stay for some minutes.
//
// Limits: network and gateway load balancers, trust stores and Lambda targets
// aren't modelled and are refused. Traffic flows where package traffic serves the
// account; elsewhere a target is healthy if its address is there.
package elbv2

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// The resource types of this package.
const (
	TypeLoadBalancer = "AWS::ElasticLoadBalancingV2::LoadBalancer"
	TypeTargetGroup  = "AWS::ElasticLoadBalancingV2::TargetGroup"
	TypeListener     = "AWS::ElasticLoadBalancingV2::Listener"
	TypeListenerRule = "AWS::ElasticLoadBalancingV2::ListenerRule"
)

const service = "elasticloadbalancing.amazonaws.com"

// Types returns the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{loadBalancerType(), targetGroupType(), listenerType(), ruleType()}
}

func invalid(format string, args ...any) error {
	return account.Errorf("ValidationError", format, args...)
}

func configuration(format string, args ...any) error {
	return account.Errorf("InvalidConfigurationRequest", format, args...)
}

func action(format string, args ...any) error {
	return account.Errorf("InvalidLoadBalancerAction", format, args...)
}

// FindLoadBalancer returns a load balancer by ARN, or LoadBalancerNotFound.
func FindLoadBalancer(tx *account.Tx, arn string) (*account.Resource, error) {
	if r := tx.Get(TypeLoadBalancer, arn); r != nil {
		return r, nil
	}
	return nil, account.Errorf("LoadBalancerNotFound", "Load balancer '%s' not found", arn)
}

// checkName holds the names of load balancers and target groups to their rules.
func checkName(what, name string) error {
	if len(name) > 32 {
		return invalid("The %s name '%s' cannot be longer than '32' characters", what, name)
	}
	for _, c := range name {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return invalid("The %s name '%s' can only contain characters that are alphanumeric characters and hyphens(-)", what, name)
		}
	}
	if strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-") {
		return invalid("The %s name '%s' cannot begin or end with '-'", what, name)
	}
	return nil
}

// attribute is what an attribute takes: words, a range of numbers or, with
// neither, any text.
type attribute struct {
	words   []string
	numbers [2]int
	value   string // the default
}

var boolean = []string{"true", "false"}

// checkAttributes checks a list of Key and Value.
func checkAttributes(what string, known map[string]attribute, list []map[string]any) error {
	seen := map[string]bool{}
	for _, a := range list {
		key, v := props.Str(a, "Key"), props.Str(a, "Value")
		k, ok := known[key]
		if !ok {
			return invalid("%s attribute key '%s' is not recognized", what, key)
		}
		if seen[key] {
			return invalid("%s attribute key '%s' is specified more than once", what, key)
		}
		seen[key] = true
		if k.words != nil && !slices.Contains(k.words, v) {
			return invalid("'%s' is not a valid value for '%s'. Valid values are: %v", v, key, k.words)
		}
		if k.numbers != [2]int{} {
			n, err := strconv.Atoi(v)
			if err != nil || n < k.numbers[0] || n > k.numbers[1] {
				return invalid("'%s' must be between %d and %d inclusive", key, k.numbers[0], k.numbers[1])
			}
		}
	}
	return nil
}

// attributes are the values of all known attributes.
func attributes(known map[string]attribute, list []map[string]any) map[string]string {
	out := map[string]string{}
	for k, a := range known {
		out[k] = a.value
	}
	for _, a := range list {
		out[props.Str(a, "Key")] = props.Str(a, "Value")
	}
	return out
}

// hexID is the last part of this service's ARNs.
func hexID(tx *account.Tx) string { return tx.HexID(16) }

// DNSName is the name of a load balancer, by its own name and a hexadecimal id.
func DNSName(tx *account.Tx, name, hex string, internal bool) string {
	dns := name + "-" + decimal(hex) + "." + tx.Region() + ".elb.amazonaws.com"
	if internal {
		return "internal-" + dns
	}
	return dns
}

// decimal makes a number of nine digits of an id, as DNS names have it.
func decimal(hex string) string {
	n, err := strconv.ParseUint(hex[:12], 16, 64)
	if err != nil {
		return hex
	}
	return fmt.Sprintf("%09d", n%1_000_000_000)
}
