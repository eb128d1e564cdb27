package autoscaling_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/autoscaling"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// An encrypted volume needs a key whose policy lets the Auto Scaling
// service-linked role use it and make grants; a disabled key will not do. The
// instance ends as soon as it was launched, with the reason that tells which.
//
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html
func TestServiceLinkedRoleNeedsTheKey(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	var role any
	l.Do(func(tx *account.Tx) { role = iam.EnsureServiceLinkedRole(tx, "autoscaling.amazonaws.com").Attrs["Arn"] })
	statement := func(principal any, action ...any) any {
		return in{"Effect": "Allow", "Principal": in{"AWS": principal}, "Action": action, "Resource": "*"}
	}
	root := statement("arn:aws:iam::123456789012:root", "kms:*")
	use := statement(role, "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")
	grant := statement(role, "kms:CreateGrant")
	const unpermitted, disabled = "Client.InternalError: Client error on launch", "Client.InvalidKMSKey.InvalidState: The KMS key provided is in an incorrect state"
	for _, c := range []struct {
		name       string
		enabled    bool
		statements []any
		want       string
	}{
		{"the account only", true, []any{root}, unpermitted},
		{"no grants", true, []any{root, use}, unpermitted},
		{"use and grants", true, []any{root, use, grant}, ""},
		{"disabled", false, []any{root, use, grant}, disabled},
	} {
		key := l.Make(kms.TypeKey, in{"Enabled": c.enabled, "KeyPolicy": in{"Version": "2012-10-17", "Statement": c.statements}})
		lt := template(l, in{"BlockDeviceMappings": []any{in{"DeviceName": "/dev/xvda", "Ebs": in{"Encrypted": true, "KmsKeyId": key.Attrs["Arn"]}}}})
		_, err := call(l, "CreateAutoScalingGroup", in{"AutoScalingGroupName": c.name, "MinSize": "1", "MaxSize": "1", "VPCZoneIdentifier": n.A.ID, "LaunchTemplate": in{"LaunchTemplateId": lt.ID, "Version": "1"}})
		l.Want("", err)
		out, err := call(l, "DescribeScalingActivities", in{"AutoScalingGroupName": c.name})
		l.Want("", err)
		first := props.Maps(out, "Activities")[0]
		if got := props.Str(first, "StatusMessage"); !strings.HasSuffix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A launch that fails is an activity of the group, with its reason.
//
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeScalingActivities.html
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/CHAP_Troubleshooting.html
func TestFailedLaunchIsAnActivity(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	lt := template(l, nil)
	g := l.Make(autoscaling.TypeGroup, group(lt, in{"VPCZoneIdentifier": []any{n.A.ID}}))
	l.Do(func(tx *account.Tx) { tx.LoseZone("us-east-1a") })
	_, err := call(l, "SetDesiredCapacity", in{"AutoScalingGroupName": g.ID, "DesiredCapacity": "2"})
	l.Want("", err)
	out, err := call(l, "DescribeScalingActivities", in{"AutoScalingGroupName": g.ID})
	l.Want("", err)
	first := props.Maps(out, "Activities")[0]
	if props.Str(first, "StatusCode") != "Failed" || !strings.HasPrefix(props.Str(first, "StatusMessage"), "We currently do not have sufficient t3.small capacity in the Availability Zone you requested (us-east-1a).") {
		t.Errorf("got %v", first)
	}
}

// A group's desired capacity lies between its minimum and its maximum.
//
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-capacity-limits.html
func TestSizes(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	lt := template(l, nil)
	at := in{"VPCZoneIdentifier": []any{n.A.ID}}
	for _, c := range []struct {
		sizes in
		want  string
	}{
		{in{"MinSize": "5"}, "ValidationError: Min bound, 5, must be less than or equal to max bound, 4"},
		{in{"DesiredCapacity": "0"}, "ValidationError: Desired capacity:0 must be between the specified min size:1 and max size:4"},
		{in{"DesiredCapacity": "5"}, "ValidationError: Desired capacity:5 must be between the specified min size:1 and max size:4"},
		{in{"DesiredCapacity": "2"}, ""},
	} {
		c.sizes["VPCZoneIdentifier"] = at["VPCZoneIdentifier"]
		g, err := l.Create(autoscaling.TypeGroup, group(lt, c.sizes))
		l.Want(c.want, err)
		if err != nil {
			continue
		}
		_, err = call(l, "SetDesiredCapacity", in{"AutoScalingGroupName": g.ID, "DesiredCapacity": "5"})
		l.Want("ValidationError: New SetDesiredCapacity value 5 is above max value 4 for the AutoScalingGroup.", err)
		_, err = call(l, "UpdateAutoScalingGroup", in{"AutoScalingGroupName": g.ID, "MinSize": "3"})
		if l.Want("", err); autoscaling.Desired(g) != 3 {
			t.Errorf("capacity %d", autoscaling.Desired(g))
		}
	}
}

// A group with instances is deleted by force only.
//
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteAutoScalingGroup.html
func TestGroupWithInstancesStays(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	g := l.Make(autoscaling.TypeGroup, group(template(l, nil), in{"VPCZoneIdentifier": []any{n.A.ID}}))
	_, err := call(l, "DeleteAutoScalingGroup", in{"AutoScalingGroupName": g.ID})
	l.Want("ResourceInUse: You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.", err)
	_, err = call(l, "DeleteAutoScalingGroup", in{"AutoScalingGroupName": g.ID, "ForceDelete": "true"})
	l.Want("", err)
	l.Wait(time.Hour)
	l.Do(func(tx *account.Tx) {
		if tx.Get(autoscaling.TypeGroup, g.ID) != nil || len(autoscaling.Instances(tx, g)) != 0 {
			t.Error("the group is still there")
		}
	})
}

// An instance that is terminated by its group is replaced, unless the capacity
// goes down with it, which the minimum may forbid.
//
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
func TestTerminatedInstanceIsReplaced(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	g := l.Make(autoscaling.TypeGroup, group(template(l, nil), in{"VPCZoneIdentifier": []any{n.A.ID}, "DesiredCapacity": "2"}))
	ids := func() (out []string) {
		l.Do(func(tx *account.Tx) {
			for _, i := range autoscaling.Instances(tx, g) {
				out = append(out, i.ID)
			}
		})
		return out
	}
	first := ids()
	for _, c := range []struct {
		decrement, want string
		left            int
	}{{"false", "", 2}, {"true", "", 1}, {"true", "ValidationError: Currently, desiredSize equals minSize (1).", 1}} {
		_, err := call(l, "TerminateInstanceInAutoScalingGroup", in{"InstanceId": ids()[0], "ShouldDecrementDesiredCapacity": c.decrement})
		l.Want(c.want, err)
		got := ids()
		if len(got) != c.left {
			t.Errorf("%d instances, want %d", len(got), c.left)
		}
		if c.decrement == "false" && slices.Equal(got, first) {
			t.Errorf("still %v", got)
		}
	}
	_, err := call(l, "TerminateInstanceInAutoScalingGroup", in{"InstanceId": "i-0", "ShouldDecrementDesiredCapacity": "false"})
	l.Want("ValidationError: Instance Id not found", err)
}

// A rolling update of a stack needs the number of instances that stay in
// service to be less than the group's maximum.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
func TestRollingUpdateNeedsRoom(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	lt := template(l, nil)
	p := func() in { return group(lt, in{"VPCZoneIdentifier": []any{n.A.ID}, "MaxSize": "2"}) }
	g := l.Make(autoscaling.TypeGroup, p())
	for least, want := range map[int]string{1: "", 2: "ValidationError: Rolling updates need MinInstancesInService, 2, to be less than the group's MaxSize, 2"} {
		g.Data["UpdatePolicy"] = in{"AutoScalingRollingUpdate": in{"MinInstancesInService": least}}
		l.Want(want, l.Update(g, p()))
	}
}

// The first group of an account makes the service-linked role of Auto Scaling,
// which launches instances from then on.
//
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/autoscaling-service-linked-role.html
func TestFirstGroupMakesTheLinkedRole(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	there := func() (found bool) {
		l.Do(func(tx *account.Tx) { found = tx.Get(iam.TypeRole, "AWSServiceRoleForAutoScaling") != nil })
		return found
	}
	if there() {
		t.Fatal("a fresh account has the role")
	}
	g := l.Make(autoscaling.TypeGroup, group(template(l, nil), in{"VPCZoneIdentifier": []any{n.A.ID}}))
	if !there() || props.Str(g.Data, "role") != "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling" {
		t.Errorf("the group's role is %v", g.Data["role"])
	}
}

// A rolling update replaces as many instances at a time as its batch has, and
// pauses after each batch.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
func TestRollingUpdateInBatches(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	lt := template(l, nil)
	p := func() in {
		return group(lt, in{"VPCZoneIdentifier": []any{n.A.ID}, "DesiredCapacity": "3", "LaunchTemplate": in{"LaunchTemplateId": lt.ID, "Version": lt.Attrs["LatestVersionNumber"]}})
	}
	g := l.Make(autoscaling.TypeGroup, p())
	l.Want("", l.Update(lt, in{"LaunchTemplateData": in{"InstanceType": "t3.medium", "ImageId": image}}))
	g.Data["UpdatePolicy"] = in{"AutoScalingRollingUpdate": in{"MaxBatchSize": 2, "PauseTime": "PT10M"}}
	fresh := func() (count int) {
		l.Do(func(tx *account.Tx) {
			for _, i := range autoscaling.Instances(tx, g) {
				if props.Int(i.Data, 0, "version") == 2 {
					count++
				}
			}
		})
		return count
	}
	l.Do(func(tx *account.Tx) {
		if _, err := tx.Update(g, p(), true); err != nil {
			t.Error(err)
		}
	})
	for _, at := range []struct {
		after time.Duration
		want  int
	}{{time.Minute, 2}, {8 * time.Minute, 2}, {2 * time.Minute, 3}} {
		l.Wait(at.after)
		if got := fresh(); got != at.want {
			t.Errorf("after %v more: %d instances are new, want %d", at.after, got, at.want)
		}
	}
}

// A launch that failed is tried again until it works; after a day of failures
// AWS gives up.
//
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
func TestFailedLaunchesAreTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Sandbox(t, sandbox.Options{})
		off := map[string]any{"Enabled": false, "KeyPolicy": in{"Version": "2012-10-17", "Statement": []any{
			in{"Effect": "Allow", "Principal": in{"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*"},
			in{"Effect": "Allow", "Principal": in{"AWS": "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"}, "Action": "kms:*", "Resource": "*"},
		}}}
		key := testkit.MustCreate(t, s, kms.TypeKey, off)
		vpc := testkit.MustCreate(t, s, ec2.TypeVPC, in{"CidrBlock": "10.0.0.0/16"})
		subnet := testkit.MustCreate(t, s, ec2.TypeSubnet, in{"VpcId": vpc.ID, "CidrBlock": "10.0.0.0/24"})
		lt := testkit.MustCreate(t, s, instance.TypeLaunchTemplate, in{"LaunchTemplateData": in{"InstanceType": "t3.small", "ImageId": image, "BlockDeviceMappings": []any{in{"DeviceName": "/dev/xvda", "Ebs": in{"Encrypted": true, "KmsKeyId": key.ID}}}}})
		made := func(name string) *account.Resource {
			var g *account.Resource
			if err := s.Account().Do(func(tx *account.Tx) (err error) {
				g, _, err = tx.Create(autoscaling.TypeGroup, group(lt, in{"AutoScalingGroupName": name, "VPCZoneIdentifier": []any{subnet.ID}}), "test", false)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return g
		}
		count := func(g *account.Resource) (n, failed int) {
			_ = s.Account().Do(func(tx *account.Tx) error {
				n = len(autoscaling.Instances(tx, g))
				for _, a := range props.Maps(tx.Get(g.Type, g.ID).Data, "activities") {
					if props.Str(a, "failure") != "" {
						failed++
					}
				}
				return nil
			})
			return n, failed
		}
		first := made("first")
		time.Sleep(time.Hour)
		if n, failed := count(first); n != 0 || failed < 4 || failed > 20 {
			t.Errorf("in an hour: %d instances, %d failures", n, failed)
		}
		given := made("second")
		time.Sleep(25 * time.Hour)
		_, before := count(given)
		off["Enabled"] = true
		testkit.Refused(t, testkit.Update(s, kms.TypeKey, key.ID, off), "")
		time.Sleep(time.Hour)
		if n, failed := count(given); n != 0 || failed != before {
			t.Errorf("after a day: %d instances, %d failures more", n, failed-before)
		}
		third := made("third")
		if n, _ := count(third); n != 1 {
			t.Errorf("with the key: %d instances", n)
		}
		off["Enabled"] = false
		testkit.Refused(t, testkit.Update(s, kms.TypeKey, key.ID, off), "")
		fourth := made("fourth")
		time.Sleep(10 * time.Minute)
		off["Enabled"] = true
		testkit.Refused(t, testkit.Update(s, kms.TypeKey, key.ID, off), "")
		time.Sleep(20 * time.Minute)
		if n, _ := count(fourth); n != 1 {
			t.Errorf("when the key is back: %d instances", n)
		}
	})
}
