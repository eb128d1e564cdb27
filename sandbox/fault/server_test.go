package fault_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/fault"
)

// A database that crashes recovers by itself, one whose primary fails goes on in
// the other zone, and a full one is storage-full; RDS tells of all of it.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeEvents.html
func TestDatabaseFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, `
- {id: crash, when: {after: 2h}, for: 2m, crash: {server: database, database: "${shop/Database}"}}
- {id: over, when: {after: 3h}, failover: {}}
- {id: full, when: {after: 4h}, for: 30m, full: {database: "sh*"}}
- {id: nobody, when: {after: 5h}, full: {database: other}}
`)
		began := time.Now()
		w.create("shop", strings.Replace(shop, "ManageMasterUserPassword: true", "ManageMasterUserPassword: true, MultiAZ: true", 1))
		if got := w.rest("shop"); got != "CREATE_COMPLETE" {
			t.Fatal(got, w.failures("shop"))
		}
		c := rds.NewFromConfig(w.cfg)
		var got []string
		zone := ""
		for _, at := range []time.Duration{time.Hour, 2*time.Hour + time.Minute, 2*time.Hour + 3*time.Minute, 3*time.Hour + time.Minute, 3*time.Hour + 3*time.Minute, 4*time.Hour + time.Minute, 4*time.Hour + 31*time.Minute, 6 * time.Hour} {
			time.Sleep(at - time.Since(began))
			out, err := c.DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{})
			if err != nil {
				t.Fatal(err)
			}
			i := out.DBInstances[0]
			status := aws.ToString(i.DBInstanceStatus)
			if z := aws.ToString(i.AvailabilityZone); z != zone {
				zone, status = z, status+", moved"
			}
			got = append(got, fmt.Sprint(at, " ", status))
		}
		want := []string{
			"1h0m0s available, moved", "2h1m0s rebooting", "2h3m0s available", "3h1m0s rebooting", "3h3m0s available, moved", "4h1m0s storage-full", "4h31m0s available", "6h0m0s available",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("statuses, -want +got:\n%s", diff)
		}
		events, err := c.DescribeEvents(t.Context(), &rds.DescribeEventsInput{SourceType: rdstypes.SourceTypeDbInstance, SourceIdentifier: aws.String("shop"), Duration: aws.Int32(360)})
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, e := range events.Events {
			got = append(got, fmt.Sprint(e.Date.Sub(began).Truncate(time.Minute), " ", e.EventCategories[0], ": ", aws.ToString(e.Message)))
		}
		want = []string{
			"2h0m0s availability: DB instance shutdown.", "2h0m0s recovery: Recovery of the DB instance has started. Recovery time will vary with the amount of data to be recovered.",
			"2h2m0s recovery: Recovery of the DB instance is complete.", "2h2m0s availability: DB instance restarted.",
			"3h0m0s failover: Multi-AZ instance failover started.", "3h1m0s failover: Multi-AZ instance failover completed.",
			"4h0m0s low storage: Allocated storage has been exhausted. Allocate additional storage to resolve.",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events, -want +got:\n%s", diff)
		}
		w.fired(map[string]int{"crash": 1, "over": 1, "full": 1, "nobody": 1})
		if what := w.faults.Tallies()[3].What; what != "database other has no storage left, which fails: there is no such DB instance" {
			t.Errorf("of a database that isn't there it is said: %s", what)
		}
	})
}

// While S3's server is down, all of its calls are refused with 503; the process
// behind it is killed once, and a clone's is left alone.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
func TestServerIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := testkit.Sandbox(t, sandbox.Options{})
		plan, err := fault.Parse("faults.yaml", []byte(`faults:
- {id: objects, when: {after: 1m}, crash: {server: s3}}
- {id: users, when: {after: 2m}, for: 5m, crash: {server: provider}}
- {id: images, when: {after: 3m}, crash: {server: ecr}}
`), fault.Known{})
		if err != nil {
			t.Fatal(err)
		}
		var killed []string
		i := fault.New(plan, fault.Options{Kill: func(server string) { killed = append(killed, server) }})
		box.Break(i)
		clone := box.Clone(nil)
		cfg := testkit.Config(box)
		cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
		var got []string
		for range 8 {
			_, err := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).ListBuckets(t.Context(), &s3.ListBucketsInput{})
			got = append(got, fmt.Sprint(testkit.Code(err), i.Down(fault.ServerS3), i.Down(fault.ServerProvider)))
			time.Sleep(30 * time.Second)
			clone.Account().Resources()
		}
		want := []string{"false false", "false false", "SlowDowntrue false", "SlowDowntrue false", "false true", "false true", "false true", "false true"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if !slices.Equal(killed, []string{"s3", "provider", "ecr"}) {
			t.Errorf("killed: %v", killed)
		}
		var none *fault.Injector
		if none.Down("s3") || none.Certificate([]string{"x"}) != "" || none.Unhealthy("x") || none.Lag(t.Context(), "s3", 1, true) != nil || none.LagOfDatabase(t.Context(), "db", 1, true) != nil {
			t.Error("without faults something fails")
		}
	})
}

// A slow S3 answers late, and others don't.
func TestSlowS3(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, "- {id: slow, lag: {server: s3, delay: 7s}}")
		began := time.Now()
		if err := w.describeVPCs(); err != nil || time.Since(began) != 0 {
			t.Errorf("EC2 answers after %s: %v", time.Since(began), err)
		}
		_, err := s3.NewFromConfig(w.cfg, func(o *s3.Options) { o.UsePathStyle = true }).ListBuckets(t.Context(), &s3.ListBucketsInput{})
		if err != nil || time.Since(began) != 7*time.Second {
			t.Errorf("S3 answers after %s: %v", time.Since(began), err)
		}
	})
}

// A slow database answers late, by its identifier, and sends bytes slowly; others
// don't.
func TestSlowDatabase(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, "- {id: slow, lag: {server: database, database: a*, delay: 2s, rate: 100}}")
		for _, c := range []struct {
			id    string
			begin bool
			want  time.Duration
		}{{"app", true, 3 * time.Second}, {"app", false, time.Second}, {"other", true, 0}} {
			began := time.Now()
			if err := w.box.Faults().LagOfDatabase(t.Context(), c.id, 100, c.begin); err != nil || time.Since(began) != c.want {
				t.Errorf("%+v: %s, %v", c, time.Since(began), err)
			}
		}
		w.fired(map[string]int{"slow": 1})
	})
}

// Targets whose health checks fail are unhealthy for who asks, too, until the
// fault is over.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/check-target-health.html
func TestTargetsFail(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, `
- {id: targets, when: {after: 2h}, for: 10m, targets: {group: "sh*"}}
- {id: others, when: {after: 2h}, targets: {group: other}}
`)
		began := time.Now()
		w.create("shop", strings.Split(shop, "  Role:")[0]+`
  Group: {Type: AWS::ElasticLoadBalancingV2::TargetGroup, Properties: {Name: shop, Protocol: HTTP, Port: 80, VpcId: !Ref Vpc, TargetType: ip, Targets: [{Id: 10.9.0.77}]}}
  Balancer: {Type: AWS::ElasticLoadBalancingV2::LoadBalancer, Properties: {Scheme: internal, Subnets: [!Ref One, !Ref Two]}}
  Listener: {Type: AWS::ElasticLoadBalancingV2::Listener, Properties: {LoadBalancerArn: !Ref Balancer, Port: 80, Protocol: HTTP, DefaultActions: [{Type: forward, TargetGroupArn: !Ref Group}]}}
`)
		if got := w.rest("shop"); got != "CREATE_COMPLETE" {
			t.Fatal(got, w.failures("shop"))
		}
		c := elb.NewFromConfig(w.cfg)
		groups, err := c.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{})
		if err != nil {
			t.Fatal(err)
		}
		failing := func() bool {
			out, err := c.DescribeTargetHealth(t.Context(), &elb.DescribeTargetHealthInput{TargetGroupArn: groups.TargetGroups[0].TargetGroupArn})
			if err != nil {
				t.Fatal(err)
			}
			h := out.TargetHealthDescriptions[0].TargetHealth
			return h.State == elbtypes.TargetHealthStateEnumUnhealthy && h.Reason == elbtypes.TargetHealthReasonEnumFailedHealthChecks
		}
		for _, at := range []struct {
			after time.Duration
			want  bool
		}{{time.Hour, false}, {2*time.Hour + time.Minute, true}, {2*time.Hour + 11*time.Minute, false}} {
			time.Sleep(at.after - time.Since(began))
			if got := failing(); got != at.want {
				t.Errorf("after %s health checks fail: %v", at.after, got)
			}
		}
		w.fired(map[string]int{"targets": 1, "others": 0})
	})
}

// Mistakes in faults of servers.
func TestMistakesOfServers(t *testing.T) {
	t.Parallel()
	_, err := fault.Parse("f.yaml", []byte(`faults:
- {id: a, crash: {}}
- {id: b, crash: {server: s4}}
- {id: c, crash: {server: s3, database: db}}
- {id: d, full: {server: s3}}
- {id: e, full: {server: provider}}
- {id: e2, full: {server: ecr}}
- {id: f, lag: {server: s4, delay: 1s}}
- {id: f2, lag: {server: s3, database: db, delay: 1s}}
- {id: g, lag: {server: s3}}
- {id: h, certificate: {wrong: old}}
- {id: i, targets: {group: "[x"}}
- {id: j, times: 3, failover: {}}
- {id: k, lag: {server: provider, rate: -1}}
- {id: l, lag: {server: s3, rate: 5}}
`), fault.Known{})
	want := []string{
		"f.yaml:2:11: faults[0].crash.server: is missing\n  fix: write one of s3, ecr, database, provider",
		"s4\" is no server that this happens to", "crash.database: has no meaning for s3", "full.server: S3 can't be full: a bucket takes as much as is put into it", "full.server: ECR can't be full: a repository takes as many layers as are pushed",
		"full.server: \"provider\" is no server", "lag.server: \"s4\" is no server", "lag.database: has no meaning for s3", "lag: has neither a delay nor a rate", "certificate.wrong: \"old\" is nothing that can be wrong",
		"targets.group: \"[x\" is no pattern", "times: failover happens once", "lag.rate: is -1", "lag.rate: has no meaning for s3",
	}
	if err == nil {
		t.Fatal("no mistakes")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("nothing of %q in\n%v", w, err)
		}
	}
	if n := strings.Count(err.Error(), "\n  fix: "); n != len(want) {
		t.Errorf("%d mistakes, want %d:\n%v", n, len(want), err)
	}
}

// What the reference page says of a server can happen to it, and nothing else.
func TestPageHasServers(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(string(fault.Page()), "\n## Servers\n")
	section, _, _ = strings.Cut(section, "\n## ")
	said := map[string]string{}
	for line := range strings.SplitSeq(section, "\n") {
		if cells := strings.Split(line, " | "); len(cells) == 2 && !strings.Contains(line, "Server |") {
			said[strings.TrimPrefix(cells[0], "| ")] = cells[1]
		}
	}
	for _, server := range []string{fault.ServerS3, fault.ServerECR, fault.ServerDatabase, fault.ServerProvider, fault.ServerLoadBalancer} {
		for kind, rest := range map[string]string{"crash": "", "full": "", "lag": ", delay: 1s"} {
			_, err := fault.Parse("f.yaml", []byte("faults: [{id: a, "+kind+": {server: "+server+rest+"}}]"), fault.Known{})
			if got, want := err == nil, strings.Contains(said[server], "`"+kind+"`"); got != want {
				t.Errorf("%s of %s is taken: %v, and the page says %s", kind, server, got, said[server])
			}
		}
	}
	if len(said) != 5 || !strings.Contains(said[fault.ServerDatabase], "`failover`") || !strings.Contains(said[fault.ServerLoadBalancer], "`targets`") {
		t.Errorf("the page says %v", said)
	}
}

// The examples of the reference page are right.
func TestPageHasExamples(t *testing.T) {
	t.Parallel()
	n := 0
	for i, part := range strings.Split(string(fault.Page()), "```") {
		if src, ok := strings.CutPrefix(part, "yaml\n"); ok && i%2 == 1 {
			n++
			if _, err := fault.Parse("page", []byte(src), fault.Known{}); err != nil {
				t.Errorf("%v\n%s", err, src)
			}
		}
	}
	if n < 6 {
		t.Errorf("%d examples", n)
	}
}
