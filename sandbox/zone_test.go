package sandbox_test

import (
	"testing"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/autoscaling"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/rds"
)

// When a zone is lost, Auto Scaling groups launch in the zones that are left, and
// a database with a standby fails over to it; a database without one fails, and a
// group of that zone alone has no instances.
//
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/auto-scaling-benefits.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.MultiAZSingleStandby.html
func TestLoseZone(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	box := testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return now }})
	zones := map[string]string{"a": "us-east-1a", "b": "us-east-1b"}
	vpc := testkit.MustCreate(t, box, ec2.TypeVPC, map[string]any{"CidrBlock": "10.0.0.0/16"})
	var subnets []any
	for i, z := range []string{"a", "b"} {
		s := testkit.MustCreate(t, box, ec2.TypeSubnet, map[string]any{"VpcId": vpc.ID, "AvailabilityZone": zones[z], "CidrBlock": "10.0." + string(rune('0'+i)) + ".0/24"})
		subnets = append(subnets, s.ID)
	}
	template := testkit.MustCreate(t, box, instance.TypeLaunchTemplate, map[string]any{"LaunchTemplateData": map[string]any{
		"ImageId": "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64", "InstanceType": "t4g.medium",
	}})
	group := func(subnets ...any) *account.Resource {
		list := append([]any{}, subnets...)
		return testkit.MustCreate(t, box, autoscaling.TypeGroup, map[string]any{
			"MinSize": "2", "MaxSize": "2", "VPCZoneIdentifier": list,
			"LaunchTemplate": map[string]any{"LaunchTemplateId": template.ID, "Version": "1"},
		})
	}
	both, lost := group(subnets...), group(subnets[0])
	testkit.MustCreate(t, box, rds.TypeSubnetGroup, map[string]any{"DBSubnetGroupName": "two", "DBSubnetGroupDescription": "two zones", "SubnetIds": subnets})
	database := func(multi bool) *account.Resource {
		p := map[string]any{
			"Engine": "postgres", "DBInstanceClass": "db.m7g.large", "AllocatedStorage": "20", "MasterUsername": "master",
			"ManageMasterUserPassword": true, "DBSubnetGroupName": "two", "MultiAZ": multi,
		}
		if !multi {
			p["AvailabilityZone"] = zones["a"]
		}
		return testkit.MustCreate(t, box, rds.TypeInstance, p)
	}
	single, multi := database(false), database(true)
	if got := multi.Data["zone"]; got != zones["a"] {
		t.Fatalf("the primary is in %v", got)
	}

	if err := box.LoseZone("us-east-1z"); err == nil {
		t.Error("a zone was lost that isn't there")
	}
	kept := box.Clone(nil)
	if err := box.LoseZone("us-east-1a"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(5 * time.Minute)
	look := func(b *sandbox.Sandbox) map[string]any {
		got := map[string]any{}
		_ = b.Account().Do(func(tx *account.Tx) error {
			for name, g := range map[string]*account.Resource{"both": both, "one": lost} {
				in := map[string]int{}
				for _, i := range autoscaling.Instances(tx, tx.Get(autoscaling.TypeGroup, g.ID)) {
					in[i.Attrs["AvailabilityZone"].(string)]++
				}
				got[name] = in
			}
			for name, d := range map[string]*account.Resource{"single": single, "multi": multi} {
				r := tx.Get(rds.TypeInstance, d.ID)
				got[name] = []any{r.Status, r.Data["zone"]}
			}
			return nil
		})
		out, err := awsec2.NewFromConfig(testkit.Config(b)).DescribeAvailabilityZones(t.Context(), &awsec2.DescribeAvailabilityZonesInput{ZoneNames: []string{zones["a"]}})
		if err != nil {
			t.Fatal(err)
		}
		got["state"] = string(out.AvailabilityZones[0].State)
		return got
	}
	want := map[string]any{
		"both": map[string]int{zones["b"]: 2}, "one": map[string]int{},
		"single": []any{"failed", zones["a"]}, "multi": []any{"available", zones["b"]},
		"state": "unavailable",
	}
	if diff := cmp.Diff(want, look(box)); diff != "" {
		t.Errorf("after the loss (-want +got):\n%s", diff)
	}
	want = map[string]any{
		"both": map[string]int{zones["a"]: 1, zones["b"]: 1}, "one": map[string]int{zones["a"]: 2},
		"single": []any{"available", zones["a"]}, "multi": []any{"available", zones["a"]},
		"state": "available",
	}
	if diff := cmp.Diff(want, look(kept)); diff != "" {
		t.Errorf("of a fork made before (-want +got):\n%s", diff)
	}
}
