package elbv2

import (
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

func targetGroupType() *account.Type {
	return &account.Type{
		Name: TypeTargetGroup, Latency: "elbv2:target-group",
		Create: createTargetGroup,
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if err := checkHealth(next); err != nil {
				return err
			}
			if err := checkAttributes("Target group", knownOfGroups, props.Maps(next, "TargetGroupAttributes")); err != nil {
				return err
			}
			r.Retag(next, "Tags")
			r.Data["targets"] = mergeTargets(r, next)
			return nil
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if len(usersOf(tx, r.ID)) > 0 {
				return account.Errorf("ResourceInUse", "Target group '%s' is currently in use by a listener or a rule", r.ID)
			}
			return nil
		},
	}
}

// knownOfGroups are the attributes of target groups of application load
// balancers.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html
var knownOfGroups = map[string]attribute{
	"deregistration_delay.timeout_seconds":                                           {numbers: [2]int{0, 3600}, value: "300"},
	"load_balancing.algorithm.anomaly_mitigation":                                    {words: []string{"on", "off"}, value: "off"},
	"load_balancing.algorithm.type":                                                  {words: []string{"round_robin", "least_outstanding_requests", "weighted_random"}, value: "round_robin"},
	"load_balancing.cross_zone.enabled":                                              {words: []string{"true", "false", "use_load_balancer_configuration"}, value: "use_load_balancer_configuration"},
	"slow_start.duration_seconds":                                                    {numbers: [2]int{0, 900}, value: "0"},
	"stickiness.app_cookie.cookie_name":                                              {},
	"stickiness.app_cookie.duration_seconds":                                         {numbers: [2]int{1, 604800}, value: "86400"},
	"stickiness.enabled":                                                             {words: boolean, value: "false"},
	"stickiness.lb_cookie.duration_seconds":                                          {numbers: [2]int{1, 604800}, value: "86400"},
	"stickiness.type":                                                                {words: []string{"lb_cookie", "app_cookie"}, value: "lb_cookie"},
	"target_group_health.dns_failover.minimum_healthy_targets.count":                 {value: "1"},
	"target_group_health.dns_failover.minimum_healthy_targets.percentage":            {value: "off"},
	"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count":      {value: "1"},
	"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": {value: "off"},
}

func createTargetGroup(tx *account.Tx, r *account.Resource) error {
	p := r.Props
	name := props.Str(p, "Name")
	if name == "" {
		name = tx.Name(r, 32)
	}
	if err := checkName("target group", name); err != nil {
		return err
	}
	if tx.Find(TypeTargetGroup, func(o *account.Resource) bool { return props.Str(o.Attrs, "TargetGroupName") == name }) != nil {
		return account.Errorf("DuplicateTargetGroupName", "A target group with the same name '%s' exists, but with different settings", name)
	}
	if err := quota.TargetGroups.Check(tx, tx.Count(TypeTargetGroup)); err != nil {
		return err
	}
	switch t := props.Str(p, "TargetType"); t {
	case "", "instance", "ip":
	default:
		return account.NotModelled("Target type '%s' is not modelled by the sandbox", t)
	}
	switch protocol := props.Str(p, "Protocol"); protocol {
	case "HTTP", "HTTPS":
	case "":
		return invalid("A protocol must be specified")
	default:
		return account.NotModelled("Protocol '%s' is not modelled for target groups", protocol)
	}
	if port := props.Int(p, 0, "Port"); port < 1 || port > 65535 {
		return invalid("A port must be specified, between 1 and 65535")
	}
	vpc := props.Str(p, "VpcId")
	if vpc == "" {
		return invalid("A VPC ID must be specified")
	}
	if tx.Get(ec2.TypeVPC, vpc) == nil {
		return invalid("The VPC ID '%s' is not found", vpc)
	}
	if err := checkHealth(p); err != nil {
		return err
	}
	if err := checkAttributes("Target group", knownOfGroups, props.Maps(p, "TargetGroupAttributes")); err != nil {
		return err
	}
	full := "targetgroup/" + name + "/" + hexID(tx)
	r.ID = tx.ARN("elasticloadbalancing", full)
	r.Tags = props.Tags(p, "Tags")
	r.Attrs = map[string]any{"TargetGroupArn": r.ID, "TargetGroupName": name, "TargetGroupFullName": full, "LoadBalancerArns": []any{}}
	r.Data = map[string]any{"targets": mergeTargets(r, p)}
	return nil
}

var codes = regexp.MustCompile(`^[0-9]{3}(-[0-9]{3})?(,[0-9]{3}(-[0-9]{3})?)*$`)

// checkHealth checks the health check.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
func checkHealth(p map[string]any) error {
	interval, timeout := props.Int(p, 30, "HealthCheckIntervalSeconds"), props.Int(p, 5, "HealthCheckTimeoutSeconds")
	healthy, unhealthy := props.Int(p, 5, "HealthyThresholdCount"), props.Int(p, 2, "UnhealthyThresholdCount")
	switch {
	case interval < 5 || interval > 300:
		return invalid("Health check interval '%d' must be between 5 and 300 inclusive", interval)
	case timeout < 2 || timeout > 120:
		return invalid("Health check timeout '%d' must be between 2 and 120 inclusive", timeout)
	case timeout >= interval:
		return invalid("Health check timeout '%d' must be smaller than the interval '%d'", timeout, interval)
	case healthy < 2 || healthy > 10:
		return invalid("Healthy threshold count '%d' must be between 2 and 10 inclusive", healthy)
	case unhealthy < 2 || unhealthy > 10:
		return invalid("Unhealthy threshold count '%d' must be between 2 and 10 inclusive", unhealthy)
	}
	if path := props.Str(p, "HealthCheckPath"); path != "" && (!strings.HasPrefix(path, "/") || len(path) > 1024) {
		return invalid("Health check path '%s' must begin with a '/' character", path)
	}
	if c := props.Str(p, "HealthCheckProtocol"); c != "" && c != "HTTP" && c != "HTTPS" {
		return invalid("Health check protocol '%s' must be one of 'HTTP, HTTPS'", c)
	}
	if m := props.Str(p, "Matcher", "HttpCode"); m != "" && (!codes.MatchString(m) || m[0] < '2' || m[0] > '4') {
		return invalid("Health check matcher HTTP code '%s' must be within '200-499' inclusive", m)
	}
	return nil
}

// mergeTargets are the targets that stay and those that properties name.
func mergeTargets(r *account.Resource, next map[string]any) []any {
	named := map[string]bool{}
	for _, t := range props.Maps(r.Props, "Targets") {
		named[targetKey(t)] = true
	}
	out := []any{}
	for _, t := range props.Maps(r.Data, "targets") {
		if !named[targetKey(t)] {
			out = append(out, t)
		}
	}
	for _, t := range props.Maps(next, "Targets") {
		out = append(out, account.Copy(t))
	}
	return out
}

func targetKey(t map[string]any) string { return props.Str(t, "Id") + ":" + props.Str(t, "Port") }

// forwarded are the target groups that actions forward to.
func forwarded(actions []map[string]any) []string {
	var out []string
	for _, a := range actions {
		if arn := props.Str(a, "TargetGroupArn"); arn != "" {
			out = append(out, arn)
		}
		for _, g := range props.Maps(a, "ForwardConfig", "TargetGroups") {
			out = append(out, props.Str(g, "TargetGroupArn"))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// usersOf are the load balancers that forward to a target group.
func usersOf(tx *account.Tx, arn string) []string {
	var out []string
	for _, l := range tx.List(TypeListener) {
		used := slices.Contains(forwarded(props.Maps(l.Props, "DefaultActions")), arn)
		for _, r := range rules(tx, l.ID) {
			used = used || slices.Contains(forwarded(props.Maps(r.Props, "Actions")), arn)
		}
		if used {
			out = append(out, props.Str(l.Props, "LoadBalancerArn"))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// connect keeps the attribute LoadBalancerArns of all target groups.
func connect(tx *account.Tx) {
	for _, g := range tx.List(TypeTargetGroup) {
		arns := []any{}
		for _, a := range usersOf(tx, g.ID) {
			arns = append(arns, a)
		}
		g.Attrs["LoadBalancerArns"] = arns
	}
}
