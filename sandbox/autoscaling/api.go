package autoscaling

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service is the API of Amazon EC2 Auto Scaling.
func Service() wire.Service {
	return wire.Service{
		Name: "autoscaling", Version: "2011-01-01", Namespace: "http://autoscaling.amazonaws.com/doc/2011-01-01/", Protocol: wire.Query,
		Operations: []wire.Operation{
			{Name: "DescribeAutoScalingGroups", Do: describeGroups},
			{Name: "DescribeScalingActivities", Do: describeActivities},
			{Name: "CreateAutoScalingGroup", Do: createGroup},
			{Name: "UpdateAutoScalingGroup", Do: updateGroup},
			{Name: "DeleteAutoScalingGroup", Do: deleteGroup},
			{Name: "TerminateInstanceInAutoScalingGroup", Do: terminateInstance},
			{Name: "SetDesiredCapacity", Do: setDesiredCapacity},
		},
	}
}

type object = map[string]any

func describeGroups(tx *account.Tx, r *wire.Request) (any, error) {
	names := r.Strings("AutoScalingGroupNames")
	var items []any
	for _, g := range tx.List(TypeGroup) {
		if len(names) > 0 && !slices.Contains(names, g.ID) {
			continue
		}
		fits, err := filtered(g, r.Maps("Filters"))
		if err != nil {
			return nil, err
		}
		if fits {
			items = append(items, groupItem(tx, g))
		}
	}
	page, next, err := wire.Page(items, r.String("NextToken"), r.Int("MaxRecords", 50), "InvalidNextToken")
	if err != nil {
		return nil, err
	}
	out := object{"AutoScalingGroups": page}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

// filtered tells whether a group fits all filters, which are on tags.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Filter.html
func filtered(g *account.Resource, filters []map[string]any) (bool, error) {
	for _, f := range filters {
		var have []string
		name := props.Str(f, "Name")
		switch key, ok := strings.CutPrefix(name, "tag:"); {
		case ok:
			if v, has := g.Tags[key]; has {
				have = []string{v}
			}
		case name == "tag-key":
			have = slices.Collect(maps.Keys(g.Tags))
		case name == "tag-value":
			have = slices.Collect(maps.Values(g.Tags))
		default:
			return false, invalid("Filter type %s is not correct. Allowed Filter types are: tag-key, tag-value, tag:<key>", name)
		}
		want := props.Strs(f, "Values")
		if !slices.ContainsFunc(have, func(h string) bool { return slices.Contains(want, h) }) {
			return false, nil
		}
	}
	return true, nil
}

func groupItem(tx *account.Tx, g *account.Resource) object {
	p := g.Props
	out := object{
		"AutoScalingGroupName": g.ID, "AutoScalingGroupARN": arn(g), "MinSize": props.Int(p, 0, "MinSize"), "MaxSize": props.Int(p, 0, "MaxSize"),
		"DesiredCapacity": Desired(g), "DefaultCooldown": props.Int(p, 300, "Cooldown"), "HealthCheckGracePeriod": props.Int(p, 0, "HealthCheckGracePeriod"),
		"HealthCheckType": text(props.Str(p, "HealthCheckType"), "EC2"), "CreatedTime": g.Created, "LoadBalancerNames": []any{}, "TargetGroupARNs": props.List(p, "TargetGroupARNs"),
		"NewInstancesProtectedFromScaleIn": props.Bool(p, false, "NewInstancesProtectedFromScaleIn"), "ServiceLinkedRoleARN": props.Str(g.Data, "role"), "TerminationPolicies": []any{"Default"},
	}
	if g.Status != "" {
		out["Status"] = g.Status
	}
	subnets := subnetIDs(p)
	if len(subnets) > 0 {
		out["VPCZoneIdentifier"] = strings.Join(subnets, ",")
	}
	zones := slices.Clone(props.Strs(p, "AvailabilityZones"))
	for _, id := range subnets {
		if s := tx.Get(ec2.TypeSubnet, id); s != nil && !slices.Contains(zones, ec2.ZoneOf(s).Name) {
			zones = append(zones, ec2.ZoneOf(s).Name)
		}
	}
	out["AvailabilityZones"] = props.List(zones)
	for _, k := range []string{"LaunchTemplate", "MixedInstancesPolicy"} {
		if props.Has(p, k) {
			out[k] = p[k]
		}
	}
	var tags, instances []any
	propagated := map[string]bool{}
	for _, t := range props.Maps(p, "Tags") {
		propagated[props.Str(t, "Key")] = props.Bool(t, false, "PropagateAtLaunch")
	}
	for _, k := range slices.Sorted(maps.Keys(g.Tags)) {
		tags = append(tags, object{"ResourceId": g.ID, "ResourceType": "auto-scaling-group", "Key": k, "Value": g.Tags[k], "PropagateAtLaunch": propagated[k]})
	}
	for _, i := range tx.List(instance.TypeInstance) {
		if i.Owner == arn(g) {
			instances = append(instances, instanceItem(tx, i))
		}
	}
	out["Tags"], out["Instances"] = tags, instances
	return out
}

func instanceItem(tx *account.Tx, i *account.Resource) object {
	state := map[string]string{"pending": "Pending", "running": "InService", "shutting-down": "Terminating"}[i.Status]
	template := object{"LaunchTemplateId": props.Str(i.Data, "launchTemplate"), "Version": strconv.Itoa(props.Int(i.Data, 0, "version"))}
	if t, err := instance.FindTemplate(tx, props.Str(i.Data, "launchTemplate"), ""); err == nil {
		template["LaunchTemplateName"] = t.Attrs["LaunchTemplateName"]
	}
	return object{
		"InstanceId": i.ID, "InstanceType": props.Str(i.Props, "InstanceType"), "AvailabilityZone": i.Attrs["AvailabilityZone"], "LifecycleState": state,
		"HealthStatus": "Healthy", "ProtectedFromScaleIn": false, "LaunchTemplate": template,
	}
}

func text(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func describeActivities(tx *account.Tx, r *wire.Request) (any, error) {
	var items []any
	for _, g := range tx.List(TypeGroup) {
		if name := r.String("AutoScalingGroupName"); name != "" && name != g.ID {
			continue
		}
		for _, a := range slices.Backward(props.Maps(g.Data, "activities")) {
			item := object{
				"ActivityId": a["id"], "AutoScalingGroupName": g.ID, "AutoScalingGroupARN": arn(g), "Description": a["description"], "Cause": "a difference between desired and actual capacity",
				"StartTime": a["time"], "EndTime": a["time"], "StatusCode": "Successful", "Progress": 100,
			}
			if failure := props.Str(a, "failure"); failure != "" {
				// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Activity.html
				item["StatusCode"], item["StatusMessage"] = "Failed", failure[:min(len(failure), 255)]
			}
			items = append(items, item)
		}
	}
	page, next, err := wire.Page(items, r.String("NextToken"), r.Int("MaxRecords", 100), "InvalidNextToken")
	if err != nil {
		return nil, err
	}
	out := object{"Activities": page}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

func findGroup(tx *account.Tx, r *wire.Request) (*account.Resource, error) {
	name := r.String("AutoScalingGroupName")
	if g := tx.Get(TypeGroup, name); g != nil {
		return g, nil
	}
	return nil, invalid("AutoScalingGroup name not found - AutoScalingGroup '%s' not found", name)
}

func updateGroup(tx *account.Tx, r *wire.Request) (any, error) {
	g, err := findGroup(tx, r)
	if err != nil {
		return nil, err
	}
	next := maps.Clone(g.Props)
	for _, k := range []string{"MinSize", "MaxSize", "DesiredCapacity", "HealthCheckType", "HealthCheckGracePeriod", "VPCZoneIdentifier", "AvailabilityZones", "NewInstancesProtectedFromScaleIn", "DeletionProtection"} {
		if r.Has(k) {
			next[k] = r.In[k]
		}
	}
	for k, other := range map[string]string{"LaunchTemplate": "MixedInstancesPolicy", "MixedInstancesPolicy": "LaunchTemplate"} {
		if r.Has(k) {
			next[k] = r.In[k]
			delete(next, other)
		}
	}
	if !r.Has("DesiredCapacity") {
		// The request's bounds move the capacity where they must.
		delete(next, "DesiredCapacity")
	}
	_, err = tx.Update(g, next, true)
	return nil, err
}

func setDesiredCapacity(tx *account.Tx, r *wire.Request) (any, error) {
	g, err := findGroup(tx, r)
	if err != nil {
		return nil, err
	}
	n := r.Int("DesiredCapacity", -1)
	switch least, most := props.Int(g.Props, 0, "MinSize"), props.Int(g.Props, 0, "MaxSize"); {
	case n > most:
		return nil, invalid("New SetDesiredCapacity value %d is above max value %d for the AutoScalingGroup.", n, most)
	case n < least:
		return nil, invalid("New SetDesiredCapacity value %d is below min value %d for the AutoScalingGroup.", n, least)
	}
	next := maps.Clone(g.Props)
	next["DesiredCapacity"] = n
	_, err = tx.Update(g, next, true)
	return nil, err
}

// createGroup is CreateAutoScalingGroup, whose members are those of
// CloudFormation but for the tags.
func createGroup(tx *account.Tx, r *wire.Request) (any, error) {
	p := object{}
	for k, v := range r.In {
		switch k {
		case "AutoScalingGroupName", "MinSize", "MaxSize", "DesiredCapacity", "LaunchTemplate", "MixedInstancesPolicy", "LaunchConfigurationName", "InstanceId",
			"VPCZoneIdentifier", "HealthCheckType", "HealthCheckGracePeriod", "NewInstancesProtectedFromScaleIn", "ServiceLinkedRoleARN", "DeletionProtection":
			p[k] = v
		case "AvailabilityZones", "TargetGroupARNs", "AvailabilityZoneIds":
			p[k] = props.List(r.Strings(k))
		case "DefaultCooldown":
			p["Cooldown"] = v
		case "Tags":
			tags := []any{}
			for _, t := range r.Maps(k) {
				tags = append(tags, object{"Key": t["Key"], "Value": t["Value"], "PropagateAtLaunch": props.Bool(t, false, "PropagateAtLaunch")})
			}
			p[k] = tags
		default:
			return nil, account.NotModelled("%s of CreateAutoScalingGroup is not modelled by the sandbox", k)
		}
	}
	if r.String("AutoScalingGroupName") == "" {
		return nil, invalid("1 validation error detected: Value null at 'autoScalingGroupName' failed to satisfy constraint: Member must not be null")
	}
	g, _, err := tx.Create(TypeGroup, p, r.Caller, false)
	if err != nil {
		return nil, err
	}
	r.Resource = arn(g)
	return nil, nil
}

// deleteGroup refuses to take away a group with instances unless it is told to.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteAutoScalingGroup.html
func deleteGroup(tx *account.Tx, r *wire.Request) (any, error) {
	g, err := findGroup(tx, r)
	if err != nil {
		return nil, err
	}
	if !r.Bool("ForceDelete", false) && len(Instances(tx, g)) > 0 {
		return nil, account.Errorf("ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.")
	}
	_, err = tx.Delete(g, true)
	return nil, err
}

// terminateInstance takes one instance, which is replaced unless the capacity
// goes down with it.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
func terminateInstance(tx *account.Tx, r *wire.Request) (any, error) {
	id := r.String("InstanceId")
	i := tx.Get(instance.TypeInstance, id)
	var g *account.Resource
	if i != nil {
		g = tx.Find(TypeGroup, func(g *account.Resource) bool { return arn(g) == i.Owner })
	}
	if g == nil {
		return nil, invalid("Instance Id not found - No managed instance found for instance ID: %s", id)
	}
	if r.Bool("ShouldDecrementDesiredCapacity", false) {
		if n := Desired(g) - 1; n < props.Int(g.Props, 0, "MinSize") {
			return nil, invalid("Currently, desiredSize equals minSize (%d). Terminating instance without replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.", Desired(g))
		}
		g.Data["desired"] = Desired(g) - 1
	}
	instance.Terminate(tx, id)
	record(tx, g, "Terminating EC2 instance: "+id, "")
	activity := props.Maps(g.Data, "activities")[len(props.List(g.Data, "activities"))-1]
	scale(tx, g, g.Props)
	return object{"Activity": object{
		"ActivityId": activity["id"], "AutoScalingGroupName": g.ID, "Description": activity["description"], "Cause": "an instance was taken out of service in response to a user request",
		"StartTime": activity["time"], "StatusCode": "InProgress", "Progress": 0,
	}}, nil
}
