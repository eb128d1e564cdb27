// Package autoscaling is Amazon EC2 Auto Scaling: groups that keep a number of
// instances running.
//
// Invariants: a group's desired capacity lies between its minimum and maximum;
// its instances are resources "ec2:instance" that it owns, spread over its
// zones, each with the launch template version that it was launched with.
//
// Limits: launch templates only; no policies, schedules, warm pools, lifecycle
// hooks, health replacement or spot. An instance in service is one that runs. What
// instances signal to CloudFormation is told from their user data.
package autoscaling

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// TypeGroup is the resource type of this package.
const TypeGroup = "AWS::AutoScaling::AutoScalingGroup"

const service = "autoscaling.amazonaws.com"

// Types are the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{{
		Name: TypeGroup, Latency: "autoscaling:group",
		Create: create,
		Update: update,
		Settle: settle,
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if p := props.Str(r.Props, "DeletionProtection"); p == "prevent-all-deletion" {
				return &account.Error{Code: "ResourceInUse", Message: fmt.Sprintf("The Auto Scaling group %s has deletion protection enabled.", r.ID), Status: 400}
			}
			r.Status = "Delete in progress"
			for _, i := range Instances(tx, r) {
				instance.Terminate(tx, i.ID)
			}
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			for _, i := range tx.List(instance.TypeInstance) {
				if i.Owner == arn(r) {
					instance.Remove(tx, i.ID)
				}
			}
		},
	}}
}

func arn(r *account.Resource) string { return props.Str(r.Attrs, "AutoScalingGroupARN") }

// Instances are the group's instances that are not being terminated.
func Instances(tx *account.Tx, group *account.Resource) []*account.Resource {
	return instance.Of(tx, arn(group))
}

// Desired is the group's desired capacity.
func Desired(group *account.Resource) int { return props.Int(group.Data, 0, "desired") }

func invalid(format string, args ...any) error {
	return account.Errorf("ValidationError", format, args...)
}

func create(tx *account.Tx, r *account.Resource) error {
	name := cmp.Or(props.Str(r.Props, "AutoScalingGroupName"), tx.Name(r, 255))
	if tx.Get(TypeGroup, name) != nil {
		return account.Errorf("AlreadyExists", "AutoScalingGroup by this name already exists - A group with the name %s already exists", name)
	}
	r.Data["role"] = props.Str(r.Props, "ServiceLinkedRoleARN")
	if r.Data["role"] == "" {
		if role := iam.EnsureServiceLinkedRole(tx, service); role != nil {
			r.Data["role"] = props.Str(role.Attrs, "Arn")
		}
	} else if !iam.RoleExists(tx, props.Str(r.Data, "role")) {
		return invalid("ARN specified for Service-Linked Role does not exist.")
	}
	if _, err := check(tx, r.Props); err != nil {
		return err
	}
	hex := tx.HexID(32)
	uuid := strings.Join([]string{hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]}, "-")
	r.ID = name
	r.Attrs["AutoScalingGroupARN"] = tx.ARN("autoscaling", "autoScalingGroup:"+uuid+":autoScalingGroupName/"+name)
	r.Tags = props.Tags(r.Props, "Tags")
	r.Data["desired"] = props.Int(r.Props, props.Int(r.Props, 0, "MinSize"), "DesiredCapacity")
	scale(tx, r, r.Props)
	return nil
}

func update(tx *account.Tx, r *account.Resource, next map[string]any) error {
	if _, err := check(tx, next); err != nil {
		return err
	}
	least, most := props.Int(next, 0, "MinSize"), props.Int(next, 0, "MaxSize")
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
	if policy := props.Map(r.Data, "UpdatePolicy", "AutoScalingRollingUpdate"); policy != nil && props.Int(policy, 0, "MinInstancesInService") >= most {
		return invalid("Rolling updates need MinInstancesInService, %d, to be less than the group's MaxSize, %d", props.Int(policy, 0, "MinInstancesInService"), most)
	}
	r.Retag(next, "Tags")
	// A size that the properties don't give stays, within the new bounds.
	r.Data["desired"] = props.Int(next, max(least, min(most, Desired(r))), "DesiredCapacity")
	scale(tx, r, next)
	return nil
}

// settle holds CloudFormation's view: a group is stable when it has its
// capacity. With a rolling update policy, which a stack's engine leaves in
// Data, instances of another template or version are replaced first.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
func settle(tx *account.Tx, r *account.Resource, op string) error {
	if op == "update" && props.Has(r.Data, "UpdatePolicy", "AutoScalingRollingUpdate") {
		if err := roll(tx, r); err != nil {
			return err
		}
	}
	if wait := Retry(tx, r); wait > 0 {
		return account.Later(wait)
	}
	if have := len(Instances(tx, r)); have != Desired(r) {
		// https://docs.aws.amazon.com/autoscaling/ec2/userguide/CHAP_Troubleshooting.html
		return account.Errorf("NotStabilized", "Group did not stabilize. {current/minimum/target} instances = {%d/%s/%d}. Failed Scaling Activity: %s",
			have, props.Str(r.Props, "MinSize"), Desired(r), props.Str(r.Data, "failure"))
	}
	return awaitSignals(tx, r, op)
}

// EC2 is asked for what it had not for a while, again and again.
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html
const (
	capacityRetry    = time.Minute
	capacityPatience = 20 * time.Minute
)

// Retry launches what EC2 had no capacity for, and says when to try again; 0 if
// the group has all its instances, lacks them for another reason, or has
// lacked them for too long.
func Retry(tx *account.Tx, r *account.Resource) time.Duration {
	if len(Instances(tx, r)) < Desired(r) && short(r) {
		scale(tx, r, r.Props)
	}
	if len(Instances(tx, r)) >= Desired(r) || !short(r) {
		delete(r.Data, "short")
		return 0
	}
	since, ok := r.Data["short"].(time.Time)
	if !ok {
		since, r.Data["short"] = tx.Now(), tx.Now()
	}
	if tx.Now().Sub(since) >= capacityPatience {
		delete(r.Data, "short")
		return 0
	}
	return capacityRetry
}

// short tells that EC2 had no capacity for the last launch.
func short(r *account.Resource) bool {
	return strings.Contains(props.Str(r.Data, "failure"), "do not have sufficient")
}

// roll replaces one batch of the instances of another template or version; with
// a pause the next batch comes after it.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
func roll(tx *account.Tx, r *account.Resource) error {
	v, err := check(tx, r.Props)
	if err != nil {
		return err
	}
	old := slices.DeleteFunc(Instances(tx, r), func(i *account.Resource) bool {
		return props.Str(i.Data, "launchTemplate") == v.template.ID && props.Int(i.Data, 0, "version") == v.version
	})
	policy := props.Map(r.Data, "UpdatePolicy", "AutoScalingRollingUpdate")
	for len(old) > 0 {
		batch := min(max(props.Int(policy, 1, "MaxBatchSize"), 1), len(old))
		for _, i := range old[:batch] {
			instance.Remove(tx, i.ID)
			r.Data["rolled"] = true
			record(tx, r, "Terminating EC2 instance: "+i.ID, "")
			scale(tx, r, r.Props)
		}
		old = old[batch:]
		if pause := pauseTime(props.Str(policy, "PauseTime")); pause > 0 && len(old) > 0 {
			return account.Later(pause)
		}
	}
	return nil
}

// pauseTime reads a duration such as PT5M30S.
func pauseTime(text string) time.Duration {
	d, err := time.ParseDuration(strings.ToLower(strings.TrimPrefix(text, "PT")))
	if err != nil {
		return 0
	}
	return d
}

// plan is where and what a group launches.
type plan struct {
	template *account.Resource
	version  int
	data     map[string]any
	types    []string // for when the template names none
	subnets  []string // empty when the template names an interface
}

// check checks a group's properties against the account.
func check(tx *account.Tx, p map[string]any) (plan, error) {
	if err := checkSizes(p); err != nil {
		return plan{}, err
	}
	if s := props.Str(p, "HealthCheckType"); s != "" {
		for _, t := range strings.Split(s, ",") {
			if !slices.Contains([]string{"EC2", "ELB", "EBS", "VPC_LATTICE"}, t) {
				return plan{}, invalid("Invalid health check type: %s", t)
			}
		}
	}
	for _, tg := range props.Strs(p, "TargetGroupARNs") {
		if tx.Get("AWS::ElasticLoadBalancingV2::TargetGroup", tg) == nil {
			return plan{}, invalid("Provided Target Groups may not be valid. Please ensure they exist and try again.")
		}
	}
	v, err := launchPlan(tx, p)
	if err != nil {
		return v, err
	}
	return v, v.place(tx, p)
}

func checkSizes(p map[string]any) error {
	least, most := props.Int(p, -1, "MinSize"), props.Int(p, -1, "MaxSize")
	desired := props.Int(p, max(least, 0), "DesiredCapacity")
	switch {
	case least < 0 || most < 0:
		return invalid("MinSize and MaxSize must be specified and must not be negative")
	case least > most:
		return invalid("Min bound, %d, must be less than or equal to max bound, %d", least, most)
	case props.Has(p, "DesiredCapacity") && (desired < least || desired > most):
		return invalid("Desired capacity:%d must be between the specified min size:%d and max size:%d", desired, least, most)
	}
	return nil
}

// launchPlan finds the launch template that the properties name.
func launchPlan(tx *account.Tx, p map[string]any) (plan, error) {
	for _, k := range []string{"LaunchConfigurationName", "InstanceId"} {
		if props.Has(p, k) {
			return plan{}, account.NotModelled("%s is not modelled by the sandbox", k)
		}
	}
	spec := props.Map(p, "LaunchTemplate")
	var types []string
	if mixed := props.Map(p, "MixedInstancesPolicy"); mixed != nil {
		if spec != nil {
			return plan{}, invalid("Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter.")
		}
		spec = props.Map(mixed, "LaunchTemplate", "LaunchTemplateSpecification")
		for _, o := range props.Maps(mixed, "LaunchTemplate", "Overrides") {
			if t := props.Str(o, "InstanceType"); t != "" {
				types = append(types, t)
			} else {
				return plan{}, account.NotModelled("overrides other than InstanceType are not modelled by the sandbox")
			}
		}
	}
	if spec == nil {
		return plan{}, invalid("Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter.")
	}
	id, name := props.Str(spec, "LaunchTemplateId"), props.Str(spec, "LaunchTemplateName")
	if (id == "") == (name == "") {
		return plan{}, invalid("Valid requests must contain either launchTemplateId or LaunchTemplateName")
	}
	template, err := instance.FindTemplate(tx, id, name)
	if err != nil {
		return plan{}, wrap(err)
	}
	data, version, err := instance.TemplateData(template, props.Str(spec, "Version"))
	if err != nil {
		return plan{}, wrap(err)
	}
	if props.Str(data, "InstanceType") == "" && len(types) == 0 {
		return plan{}, invalid("You must use a valid fully-formed launch template. The request must contain the parameter InstanceType")
	}
	if props.Str(data, "ImageId") == "" {
		return plan{}, invalid("You must use a valid fully-formed launch template. The request must contain the parameter ImageId")
	}
	if err := instance.CheckData(tx, data); err != nil {
		return plan{}, wrap(err)
	}
	return plan{template: template, version: version, data: data, types: types}, nil
}

// wrap puts EC2's refusal into Auto Scaling's words.
func wrap(err error) error {
	if e, ok := err.(*account.Error); ok {
		return invalid("You must use a valid fully-formed launch template. %s", e.Message)
	}
	return err
}

// place finds the subnets that a group launches into. With an interface that
// exists the template has decided: the group then names the zone of the
// interface and no subnet, and has room for one instance.
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/create-launch-template.html
func (v *plan) place(tx *account.Tx, p map[string]any) error {
	subnets, zones := subnetIDs(p), slices.Clone(props.Strs(p, "AvailabilityZones"))
	for _, id := range props.Strs(p, "AvailabilityZoneIds") {
		for _, z := range tx.Zones() {
			if z.ID == id {
				zones = append(zones, z.Name)
			}
		}
	}
	known := tx.Zones()
	for _, z := range zones {
		if !slices.ContainsFunc(known, func(k account.Zone) bool { return k.Name == z }) {
			return invalid("Invalid Availability Zones: [%s]", z)
		}
	}
	if eni := instance.Interface0(v.data); eni != "" {
		return v.pin(tx, eni, subnets, zones)
	}
	var vpc string
	var found []string
	for _, id := range subnets {
		subnet, err := ec2.FindSubnet(tx, id)
		if err != nil {
			return invalid("The subnet ID '%s' does not exist", id)
		}
		if vpc != "" && ec2.VPCOf(subnet) != vpc {
			return invalid("The subnets of an Auto Scaling group must be in the same VPC")
		}
		vpc = ec2.VPCOf(subnet)
		v.subnets = append(v.subnets, subnet.ID)
		found = append(found, ec2.ZoneOf(subnet).Name)
	}
	for _, z := range zones {
		if len(subnets) > 0 && !slices.Contains(found, z) {
			return invalid("The availability zones of the specified subnets and the Auto Scaling group do not match")
		}
	}
	if len(subnets) == 0 && len(zones) == 0 {
		return invalid("At least one Availability Zone or VPC Subnet is required.")
	}
	if len(subnets) > 0 {
		return v.checkGroups(tx, vpc)
	}
	return v.defaultSubnets(tx, zones)
}

// subnetIDs are the subnets that a group names, as a list or, by the API,
// joined by commas.
func subnetIDs(p map[string]any) []string {
	if one := props.Str(p, "VPCZoneIdentifier"); one != "" {
		return strings.Split(strings.ReplaceAll(one, " ", ""), ",")
	}
	return props.Strs(p, "VPCZoneIdentifier")
}

func (v *plan) pin(tx *account.Tx, id string, subnets, zones []string) error {
	eni, err := ec2.Lookup(tx, ec2.TypeNetworkInterface, id)
	if err != nil {
		return wrap(err)
	}
	subnet, err := ec2.FindSubnet(tx, props.Str(eni.Props, "SubnetId"))
	if err != nil {
		return wrap(err)
	}
	if len(subnets) > 0 {
		return invalid("You must use a valid fully-formed launch template. Network interfaces and an instance-level subnet ID may not be specified on the same request")
	}
	if zone := ec2.ZoneOf(subnet).Name; len(zones) != 1 || zones[0] != zone {
		return invalid("You must use a valid fully-formed launch template. The network interface '%s' is in the availability zone %s, which must be the group's only one", id, zone)
	}
	return nil
}

func (v *plan) checkGroups(tx *account.Tx, vpc string) error {
	if err := ec2.CheckSecurityGroups(tx, vpc, instance.Groups(v.data)); err != nil {
		return wrap(err)
	}
	return nil
}

// defaultSubnets are those of the default VPC in the zones.
func (v *plan) defaultSubnets(tx *account.Tx, zones []string) error {
	vpc := ec2.DefaultVPC(tx)
	if vpc == nil {
		return invalid("No default VPC for this user")
	}
	for _, s := range ec2.InVPC(tx, ec2.TypeSubnet, vpc.ID) {
		if slices.Contains(zones, ec2.ZoneOf(s).Name) {
			v.subnets = append(v.subnets, s.ID)
		}
	}
	return v.checkGroups(tx, vpc.ID)
}

// scale launches or terminates until the group has its desired capacity or a
// launch is refused; the refusal is the group's failed activity.
func scale(tx *account.Tx, r *account.Resource, p map[string]any) {
	r.Data["failure"] = ""
	there := Instances(tx, r)
	for len(there) > Desired(r) {
		// The oldest version goes first, then the oldest instance.
		// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html
		i := slices.MinFunc(there, func(a, b *account.Resource) int {
			return cmp.Or(cmp.Compare(props.Int(a.Data, 0, "version"), props.Int(b.Data, 0, "version")), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
		})
		instance.Terminate(tx, i.ID)
		record(tx, r, "Terminating EC2 instance: "+i.ID, "")
		there = Instances(tx, r)
	}
	for len(there) < Desired(r) {
		if err := launch(tx, r, p, there); err != nil {
			r.Data["failure"] = "Launching a new EC2 instance failed. " + reason(err)
			description := "Launching a new EC2 instance"
			if e, ok := err.(*account.Error); ok && strings.HasPrefix(e.Code, "Client.") {
				description += ": i-" + tx.HexID(17)
			}
			record(tx, r, description, reason(err))
			retryLater(tx, r)
			return
		}
		there = Instances(tx, r)
	}
	delete(r.Data, "failingSince")
	delete(r.Data, "retryAt")
}

// launch launches one instance into the subnet that has fewest.
func launch(tx *account.Tx, r *account.Resource, p map[string]any, there []*account.Resource) error {
	v, err := check(tx, p)
	if err != nil {
		return err
	}
	l := instance.Launch{
		Data: v.data, Template: v.template.ID, Version: v.version, Owner: arn(r), Role: props.Str(r.Data, "role"),
		Tags: map[string]string{"aws:autoscaling:groupName": r.ID},
	}
	if len(v.types) > 0 {
		l.Type = v.types[0]
	}
	standing := slices.DeleteFunc(slices.Clone(v.subnets), func(id string) bool {
		s, err := ec2.FindSubnet(tx, id)
		return err == nil && tx.Lost(ec2.ZoneOf(s).Name)
	})
	if len(standing) == 0 {
		standing = v.subnets
	}
	if len(standing) > 0 {
		l.Subnet = slices.MinFunc(standing, func(a, b string) int { return cmp.Compare(count(there, a), count(there, b)) })
	}
	for _, t := range props.Maps(p, "Tags") {
		if props.Bool(t, false, "PropagateAtLaunch") {
			l.Tags[props.Str(t, "Key")] = props.Str(t, "Value")
		}
	}
	i, err := instance.Run(tx, l)
	if err != nil {
		return err
	}
	record(tx, r, "Launching a new EC2 instance: "+i.ID, "")
	return nil
}

// record notes a scaling activity; failure is why it failed, if it did.
func record(tx *account.Tx, r *account.Resource, description, failure string) {
	r.Data["activities"] = append(props.List(r.Data, "activities"), map[string]any{
		"id": tx.HexID(32), "time": tx.Now(), "description": description, "failure": failure,
	})
}

func count(instances []*account.Resource, subnet string) int {
	n := 0
	for _, i := range instances {
		if props.Str(i.Props, "SubnetId") == subnet {
			n++
		}
	}
	return n
}

// reason is how a scaling activity words a refusal.
func reason(err error) string {
	e, ok := err.(*account.Error)
	if !ok {
		return err.Error()
	}
	if strings.HasPrefix(e.Code, "Client.") {
		// The instance was there, and has ended by itself.
		return "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: " + e.Code + ": " + e.Message
	}
	return e.Message + ". Launching EC2 instance failed."
}

// ZoneLost replaces the instances that a lost zone took, in the groups' other
// zones as far as they have some.
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/auto-scaling-benefits.html
func ZoneLost(tx *account.Tx) { Refill(tx) }

// Refill launches what groups lack, as they try again and again.
func Refill(tx *account.Tx) {
	for _, r := range tx.List(TypeGroup) {
		if len(Instances(tx, r)) < Desired(r) {
			scale(tx, r, r.Props)
		}
	}
}
