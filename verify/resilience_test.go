package verify_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/verify"
)

// noChecks runs one check, which every report must have, and the survivals.
var noChecks = verify.Options{Only: []string{"lb-there"}}

// survived are the failures by whether they are survived.
func survived(rep *verify.Report) (yes, no []string) {
	for _, s := range rep.Survives {
		if s.Survives {
			yes = append(yes, s.Failure)
		} else {
			no = append(no, s.Failure)
		}
	}
	return yes, no
}

// of is the survival of a failure.
func of(t *testing.T, rep *verify.Report, failure string) verify.Survival {
	t.Helper()
	for _, s := range rep.Survives {
		if s.Failure == failure {
			return s
		}
	}
	t.Fatalf("nothing is said about %s", failure)
	return verify.Survival{}
}

// TestSurvives has every example survive what it should, and nothing else.
func TestSurvives(t *testing.T) {
	t.Parallel()
	// each names a failure in each zone.
	each := func(zones string, kinds ...string) []string {
		var out []string
		for _, k := range kinds {
			for _, z := range strings.Fields(zones) {
				out = append(out, k+" "+z)
			}
		}
		return out
	}
	const us, eu = "use1-az1 use1-az2 use1-az4", "euc1-az1 euc1-az2 euc1-az3"
	groups := []string{"node group core in", "node group interface in", "node group web-assistant in"}
	production := func(zones string, nat ...string) []string {
		out := append([]string{"none"}, each(zones, "zone")...)
		out = append(append(out, each(zones, nat...)...), each(zones, groups...)...)
		return append(out, "database instance in "+strings.Fields(zones)[0])
	}
	gpu := production(us, "NAT gateway in")
	gpu = slices.Insert(gpu, slices.Index(gpu, "node group interface in use1-az1"), "node group gpu in use1-az4")
	type outcome struct{ yes, no []string }
	want := map[string]outcome{
		"production":       {production(us, "NAT gateway in"), nil},
		"enterprise-dns":   {production(us, "NAT gateway in"), nil},
		"gpu-inference":    {gpu, nil},
		"minimal-egress":   {production(us), nil},
		"self-managed-nat": {production(eu, "NAT instance in"), nil},
		// The way out is the owner's, or a proxy: nothing of ours that can fail.
		"existing-network": {production(us), nil},
		"private-cluster":  {production(us), nil},
		// One NAT without endpoints, one database without standby; both in the
		// first zone.
		"evaluation": {
			[]string{"none", "zone use1-az2", "zone use1-az4", "node group core in use1-az1", "node group core in use1-az2", "node group web-assistant+interface in use1-az1", "node group web-assistant+interface in use1-az2"},
			[]string{"zone use1-az1", "NAT gateway in use1-az1", "database instance in use1-az1"},
		},
	}
	for _, name := range examples(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rep := standing(t, name).verify(t, noChecks)
			want, ok := want[name]
			if !ok {
				t.Fatal("nothing is known about this example")
			}
			yes, no := survived(rep)
			if diff := cmp.Diff(want, outcome{yes, no}, cmp.AllowUnexported(outcome{})); diff != "" {
				t.Errorf("survived and not (-want +got):\n%s", diff)
			}
			for _, s := range rep.Survives {
				if len(s.Still) == 0 || s.Reason != "" || s.Failure == "none" && len(s.Loss) > 0 || !s.Survives && len(s.Loss) == 0 {
					t.Errorf("incomplete: %+v", s)
				}
			}
		})
	}
}

// TestZoneLost shows the whole of one statement.
func TestZoneLost(t *testing.T) {
	t.Parallel()
	want := verify.Survival{
		Failure: "zone use1-az1", Survives: true,
		Still: []string{
			"the web load balancer in use1-az2, use1-az4",
			"the admin load balancer in use1-az2, use1-az4",
			"2 of 3 core nodes, in use1-az2, use1-az4",
			"2 of 3 web-assistant nodes, in use1-az2, use1-az4",
			"2 of 3 interface nodes, in use1-az2, use1-az4",
			"the way out of nodes in use1-az2, use1-az4",
			"AWS's APIs by endpoint: kms, secretsmanager, sts",
			"the database in use1-az2, by failover",
			"the Kubernetes API in use1-az2, use1-az4",
		},
		Loss: []string{
			"1 of 3 core nodes; the groups that are left may grow by 2",
			"1 of 3 web-assistant nodes; the groups that are left may grow by 4",
			"1 of 3 interface nodes; the groups that are left may grow by 4",
			"the database for the minute or two of its failover, and then its standby until RDS has made another",
		},
	}
	if diff := cmp.Diff(want, of(t, standing(t, "production").verify(t, noChecks), "zone use1-az1")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// in chooses what lies in a zone of this name.
func in(zone string) func(tx *account.Tx, r *account.Resource) bool {
	return func(tx *account.Tx, r *account.Resource) bool {
		switch r.Type {
		case "AWS::RDS::DBInstance", "AWS::EC2::Subnet":
			return false
		}
		s := tx.Get("AWS::EC2::Subnet", props.Str(r.Props, "SubnetId"))
		return s != nil && props.Str(s.Attrs, "AvailabilityZone") == zone || props.Str(r.Props, "AvailabilityZone") == zone
	}
}

// lose takes everything in a zone away that can be lost with it: instances,
// volumes, interfaces, NAT. RDS fails over, if it can.
func lose(t *testing.T, w *world, zone string) int {
	t.Helper()
	gone := 0
	for _, r := range w.box.Account().Resources() {
		err := w.box.Account().Do(func(tx *account.Tx) error {
			if in(zone)(tx, r) {
				tx.Drop(r.Type, r.ID)
				gone++
			}
			if r.Type != "AWS::RDS::DBInstance" {
				return nil
			}
			db := tx.Get(r.Type, r.ID)
			switch standby := props.Str(r.Data, "standby"); {
			case standby == zone:
				db.Data["standby"] = ""
			case props.Str(r.Data, "zone") != zone:
			case standby != "":
				db.Data["zone"], db.Data["standby"] = standby, ""
			default:
				tx.Drop(r.Type, r.ID)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return gone
}

// TestWhatStillServes takes a whole zone out of the account: what serves is
// what was said to, no check fails for lack of something to look at, and what
// is left survives less than before.
func TestWhatStillServes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		example, zone, id string
		survives          bool
	}{
		{"production", "us-east-1a", "use1-az1", true},
		{"self-managed-nat", "eu-central-1b", "euc1-az2", true},
		{"minimal-egress", "us-east-1b", "use1-az2", true},
		{"evaluation", "us-east-1a", "use1-az1", false},
		{"evaluation", "us-east-1b", "use1-az2", true},
	} {
		t.Run(tt.example+" "+tt.id, func(t *testing.T) {
			t.Parallel()
			w := standing(t, tt.example)
			said := of(t, w.verify(t, noChecks), "zone "+tt.id)
			if n := lose(t, w, tt.zone); n < 10 {
				t.Fatalf("only %d things are lost", n)
			}
			rep := w.verify(t, verify.Options{})
			now := of(t, rep, "none")
			if now.Survives != tt.survives || said.Survives != tt.survives {
				t.Errorf("users are served: %v, and it was said: %v, want %v", now.Survives, said.Survives, tt.survives)
			}
			// The numbers of nodes are of those that there are now.
			parts := func(s verify.Survival) []string {
				var out []string
				for _, line := range s.Still {
					if !strings.Contains(line, " nodes, in ") && !strings.Contains(line, "Kubernetes API") {
						line, _, _ = strings.Cut(line, ", by failover")
						line, _, _ = strings.Cut(line, ", with")
						out = append(out, line)
					}
				}
				return out
			}
			if diff := cmp.Diff(parts(said), parts(now)); diff != "" {
				t.Errorf("what still serves (-said +found):\n%s", diff)
			}
			for _, s := range now.Still {
				if strings.Contains(s, tt.id) && !strings.Contains(s, "Kubernetes API") {
					t.Errorf("the lost zone still serves: %s", s)
				}
			}
			if unseen := rep.Unseen(""); len(unseen) > 0 {
				t.Errorf("could not look: %v", ids(unseen))
				say(t, rep)
			}
		})
	}
}

// TestSurvivesLess changes the account, and with it what is survived.
func TestSurvivesLess(t *testing.T) {
	t.Parallel()
	// empty takes all nodes of a role but those in one zone.
	empty := func(role, keep string) func(*wrecker) error {
		return func(w *wrecker) error {
			names, err := w.aws.EKS.ListNodegroups(w.ctx, &eks.ListNodegroupsInput{ClusterName: aws.String(w.arch.ClusterName())})
			if err != nil {
				return err
			}
			for _, n := range names.Nodegroups {
				got, err := w.aws.EKS.DescribeNodegroup(w.ctx, &eks.DescribeNodegroupInput{ClusterName: aws.String(w.arch.ClusterName()), NodegroupName: &n})
				if err != nil {
					return err
				}
				subnets, err := w.aws.EC2.DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{SubnetIds: got.Nodegroup.Subnets})
				if err != nil {
					return err
				}
				if got.Nodegroup.Labels["node-role.poolhouse/"+role] == "" || aws.ToString(subnets.Subnets[0].AvailabilityZoneId) == keep {
					continue
				}
				_, err = w.aws.EKS.UpdateNodegroupConfig(w.ctx, &eks.UpdateNodegroupConfigInput{
					ClusterName: aws.String(w.arch.ClusterName()), NodegroupName: &n,
					ScalingConfig: &ekstypes.NodegroupScalingConfig{MinSize: aws.Int32(0), DesiredSize: aws.Int32(0), MaxSize: aws.Int32(1)},
				})
				if err != nil {
					return err
				}
				// It takes its time; here the instances go at once.
				err = w.box.Account().Do(func(tx *account.Tx) error {
					for _, i := range tx.List(instance.TypeInstance) {
						if i.Tags["eks:nodegroup-name"] == n {
							tx.Drop(i.Type, i.ID)
						}
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		}
	}
	endpoints := func(w *wrecker) error {
		got, err := w.aws.EC2.DescribeVpcEndpoints(w.ctx, &ec2.DescribeVpcEndpointsInput{Filters: []ec2types.Filter{{Name: aws.String("vpc-endpoint-type"), Values: []string{"Interface"}}}})
		if err != nil {
			return err
		}
		var list []string
		for _, e := range got.VpcEndpoints {
			list = append(list, aws.ToString(e.VpcEndpointId))
		}
		_, err = w.aws.EC2.DeleteVpcEndpoints(w.ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: list})
		if err != nil {
			return err
		}
		return w.box.Account().Do(func(tx *account.Tx) error {
			for _, id := range list {
				tx.Drop("AWS::EC2::VPCEndpoint", id)
			}
			return nil
		})
	}
	for name, tt := range map[string]struct {
		example string
		by      func(*wrecker) error
		no      []string
		failure string // and what is lost by it
		loss    string
	}{
		"one role in one zone": {
			"production", empty("core", "use1-az2"),
			[]string{"zone use1-az2", "node group core in use1-az2"},
			"zone use1-az2", "all core nodes",
		},
		"no standby": {
			"production", func(w *wrecker) error {
				_, err := w.aws.RDS.ModifyDBInstance(w.ctx, &rds.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String(w.arch.DatabaseName()), MultiAZ: aws.Bool(false), ApplyImmediately: aws.Bool(true)})
				return err
			},
			[]string{"zone use1-az1", "database instance in use1-az1"},
			"database instance in use1-az1", "the database, which has no standby: it must be restored from its backup, which goes up to ",
		},
		"no standby and no backup": {
			"evaluation", func(w *wrecker) error {
				_, err := w.aws.RDS.ModifyDBInstance(w.ctx, &rds.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String(w.arch.DatabaseName()), BackupRetentionPeriod: aws.Int32(0), ApplyImmediately: aws.Bool(true)})
				return err
			},
			[]string{"zone use1-az1", "NAT gateway in use1-az1", "database instance in use1-az1"},
			"database instance in use1-az1", "the database, which has no standby: there is no backup to restore it from",
		},
		"no endpoints, a proxy": {"private-cluster", endpoints, []string{}, "zone use1-az1", "1 of 3 core nodes"},
		"halves of a default route to one NAT": {
			"enterprise-dns", func(w *wrecker) error {
				return w.box.Account().Do(func(tx *account.Tx) error {
					one := tx.Find("AWS::EC2::NatGateway", func(r *account.Resource) bool { return in("us-east-1a")(tx, r) })
					for _, r := range tx.List("AWS::EC2::Route") {
						if r.Props["NatGatewayId"] == nil {
							continue
						}
						// The lower half keeps the NAT of its zone.
						other := *r
						other.ID, other.LogicalID = r.ID+"upper", ""
						other.Props, other.Attrs = maps.Clone(r.Props), maps.Clone(r.Attrs)
						other.Props["NatGatewayId"] = one.ID
						r.Props["DestinationCidrBlock"], r.Attrs["CidrBlock"] = "0.0.0.0/1", "0.0.0.0/1"
						other.Props["DestinationCidrBlock"], other.Attrs["CidrBlock"] = "128.0.0.0/1", "128.0.0.0/1"
						tx.Put(&other)
					}
					return nil
				})
			},
			[]string{"zone use1-az1", "NAT gateway in use1-az1"},
			"NAT gateway in use1-az2",
			"sign-on at the web load balancer in use1-az2, for part of the requests",
		},
		"no endpoints": {"minimal-egress", endpoints, nil, "none", "the AWS APIs kms, secretsmanager, sts: no node reaches them, and they have no endpoint"},
		"no endpoints, NAT in each zone": {
			"production", endpoints, []string{}, "NAT gateway in use1-az1", "the way out of nodes in use1-az1",
		},
		"a load balancer in one zone": {
			"production", func(w *wrecker) error {
				id, err := w.id(typeBalancer, "WebLoadBalancer")
				if err != nil {
					return err
				}
				return w.box.Account().Do(func(tx *account.Tx) error {
					for _, f := range tx.List("AWS::EC2::NetworkInterface") {
						if f.Owner == id && !in("us-east-1a")(tx, f) {
							tx.Drop(f.Type, f.ID)
						}
					}
					return nil
				})
			},
			[]string{"zone use1-az1"},
			"zone use1-az1", "the web load balancer, which is in no other zone",
		},
		"routes to one NAT": {
			"enterprise-dns", func(w *wrecker) error {
				return w.box.Account().Do(func(tx *account.Tx) error {
					one := tx.Find("AWS::EC2::NatGateway", func(r *account.Resource) bool { return in("us-east-1a")(tx, r) })
					for _, r := range tx.List("AWS::EC2::Route") {
						if r.Props["NatGatewayId"] != nil {
							r.Props["NatGatewayId"] = one.ID
						}
					}
					return nil
				})
			},
			// Users of an internal load balancer can't sign on without it.
			[]string{"zone use1-az1", "NAT gateway in use1-az1"},
			"NAT gateway in use1-az1",
			"sign-on at the web load balancer, which no longer reaches the identity provider",
		},
		"no database": {"production", func(w *wrecker) error { return w.drop("AWS::RDS::DBInstance", logical("Database")) }, nil, "none", "the database is not there"},
		"no cluster":  {"production", func(w *wrecker) error { return w.drop("AWS::EKS::Cluster", logical("Cluster")) }, nil, "none", "the cluster is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := standing(t, tt.example)
			if err := tt.by(&wrecker{w, t.Context(), clients(t, w.box, 1, clock.Real{})}); err != nil {
				t.Fatal(err)
			}
			rep := w.verify(t, noChecks)
			yes, no := survived(rep)
			if tt.no == nil && len(yes) > 0 {
				t.Errorf("%v are survived, although nothing serves", yes)
			}
			if tt.no != nil {
				if diff := cmp.Diff(tt.no, append([]string{}, no...)); diff != "" {
					t.Errorf("not survived (-want +got):\n%s", diff)
				}
			}
			s := of(t, rep, tt.failure)
			if !slices.ContainsFunc(s.Loss, func(l string) bool { return strings.HasPrefix(l, tt.loss) }) {
				t.Errorf("%s loses %q, want %q", tt.failure, s.Loss, tt.loss)
			}
		})
	}
}

// TestSurvivesUnknown says that it could not be told, not that nothing is
// survived.
func TestSurvivesUnknown(t *testing.T) {
	t.Parallel()
	w := standing(t, "evaluation")
	c := refused(t, w, "AccessDenied", func(form url.Values) bool { return form.Get("Action") == "DescribeDBInstances" })
	rep, err := verify.Run(t.Context(), verify.Options{Architecture: w.arch, AWS: c, Only: []string{"lb-there"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Survives) != 1 || !strings.Contains(rep.Survives[0].Reason, "AccessDenied") || rep.Survives[0].Still == nil || rep.Survives[0].Loss == nil {
		t.Errorf("without the database's state: %+v", rep.Survives)
	}
}
