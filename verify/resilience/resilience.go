// Package resilience says which single failures a deployment survives, and what each
// would cost.
//
// Invariants: it answers from what stands in the account, and writes nothing.
//
// Limits: failures are thought through, not brought about. Two at a time are not
// looked at.
package resilience

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/reach"
	"github.com/poolhouse/poolhouse/verify/vpc"
)

// Survival is a single failure, and whether the deployment survives it.
type Survival struct {
	// Failure names what is lost: "zone use1-az1". "none" is the deployment as
	// it stands.
	Failure string `json:"failure"`
	// Survives tells whether users are still served, if need be after minutes
	// of failover; Loss what is lost or how long it takes, and Still what goes
	// on.
	Survives bool     `json:"survives"`
	Still    []string `json:"still"`
	Loss     []string `json:"loss"`
	// Reason is set where it could not be told.
	Reason string `json:"reason,omitempty"`
}

// resSubnet is a subnet of the VPC.
type resSubnet struct{ id, zone, zoneName string }

// resNAT is a NAT gateway or instance that works.
type resNAT struct {
	id, subnet string
	// targets are what routes to it name: itself, or its interfaces.
	targets []string
}

// resSubnets are the subnets of the VPC by id.
func resSubnets(l *account.Look) (map[string]resSubnet, error) {
	all, err := l.Subnets()
	if err != nil {
		return nil, err
	}
	out := map[string]resSubnet{}
	for _, s := range all {
		id := aws.ToString(s.SubnetId)
		out[id] = resSubnet{id, aws.ToString(s.AvailabilityZoneId), aws.ToString(s.AvailabilityZone)}
	}
	return out, nil
}

// resNATs are the NAT gateways of the VPC that are available, and the running
// NAT instances.
func resNATs(l *account.Look) ([]resNAT, error) {
	gateways, err := l.NatGateways()
	if err != nil {
		return nil, err
	}
	instances, err := l.Instances()
	if err != nil {
		return nil, err
	}
	var out []resNAT
	for _, n := range gateways {
		if n.State == ec2types.NatGatewayStateAvailable {
			out = append(out, resNAT{aws.ToString(n.NatGatewayId), aws.ToString(n.SubnetId), []string{aws.ToString(n.NatGatewayId)}})
		}
	}
	for _, i := range instances {
		if i.NAT {
			out = append(out, resNAT{i.ID, i.Subnet, append([]string{i.ID}, i.Faces...)})
		}
	}
	return out, nil
}

// resRoutes are the targets of the default routes, by subnet; subnets without
// one, or with a route to what is gone, are left out.
func resRoutes(l *account.Look) (map[string][]string, error) {
	subnets, err := l.Subnets()
	if err != nil {
		return nil, err
	}
	tables, err := l.RouteTables()
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, s := range subnets {
		if to := defaultRoute(vpc.TableOf(tables, aws.ToString(s.SubnetId))); len(to) > 0 {
			out[aws.ToString(s.SubnetId)] = to
		}
	}
	return out, nil
}

// defaultRoute are the targets of a table's default route, several if it is split in
// halves; nil if there is none that works.
func defaultRoute(t ec2types.RouteTable) []string {
	var out []string
	for _, r := range vpc.DefaultRoutes(t) {
		kind, to := vpc.TargetOf(r)
		if kind == reach.Local || r.State == ec2types.RouteStateBlackhole {
			return nil
		}
		out = append(out, to)
	}
	return out
}

// resEndpoints are the interface endpoints that are available: the subnets of
// each service, such as kms.
func resEndpoints(l *account.Look) (map[string][]string, error) {
	all, err := l.VPCEndpoints()
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, e := range all {
		if e.VpcEndpointType != ec2types.VpcEndpointTypeInterface || !strings.EqualFold(string(e.State), "available") {
			continue
		}
		_, service, _ := strings.Cut(aws.ToString(e.ServiceName), "."+l.AWS.Region+".")
		out[service] = append(out[service], e.SubnetIds...)
	}
	return out, nil
}

// resWorld is all of it together.
type resWorld struct {
	zones     []string
	subnets   map[string]resSubnet
	routes    map[string][]string
	nats      []resNAT
	endpoints map[string][]string
	groups    []account.NodeGroup
	nodes     []account.Instance
	roles     []config.Role
	db        *rdstypes.DBInstance
	cluster   *ekstypes.Cluster
	balancers []account.Balancer
	// faces are the zones in which a load balancer has an interface.
	faces map[string][]string
	sso   bool
	// proxy tells that the configuration has one.
	proxy bool
}

// readWorld reads where everything stands. The first error is returned: a
// statement on half of the facts would be none.
func readWorld(l *account.Look) (*resWorld, error) {
	w := &resWorld{}
	errs := make([]error, 9)
	var wg sync.WaitGroup
	wg.Go(func() { w.subnets, errs[0] = resSubnets(l) })
	wg.Go(func() { w.routes, errs[1] = resRoutes(l) })
	wg.Go(func() { w.nats, errs[2] = resNATs(l) })
	wg.Go(func() { w.endpoints, errs[3] = resEndpoints(l) })
	wg.Go(func() { w.groups, errs[4] = l.NodeGroups() })
	wg.Go(func() { w.nodes, errs[5] = l.Instances() })
	wg.Go(func() { w.db, errs[6] = l.Database() })
	wg.Go(func() { w.cluster, errs[7] = l.Cluster() })
	wg.Go(func() { w.balancers, errs[8] = l.Balancers() })
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	faces, err := l.NetworkInterfaces()
	if err != nil {
		return nil, err
	}
	w.faces = map[string][]string{}
	for _, b := range w.balancers {
		// ELB describes its interfaces by the load balancer that they belong to.
		_, name, _ := strings.Cut(b.ARN(), "loadbalancer/")
		for _, f := range faces {
			if aws.ToString(f.Description) == "ELB "+name && f.Status == ec2types.NetworkInterfaceStatusInUse {
				w.faces[b.ARN()] = append(w.faces[b.ARN()], w.subnets[aws.ToString(f.SubnetId)].zone)
			}
		}
	}
	// GPU nodes are the models' and not every deployment has them; without one
	// of the others users are not served.
	for _, r := range []config.Role{config.Core, config.WebAssistant, config.Interface, config.GPU} {
		if l.Arch.Serves(r) {
			w.roles = append(w.roles, r)
		}
	}
	sso := l.Arch.Config.Access.SSO
	w.sso = sso.Enabled && !sso.ReachableInternally
	w.proxy = l.Arch.Config.Proxy.URL != ""
	zones := map[string]bool{}
	note := func(subnet string) {
		if z := w.subnets[subnet].zone; z != "" {
			zones[z] = true
		}
	}
	for _, b := range w.balancers {
		for _, z := range b.AvailabilityZones {
			note(aws.ToString(z.SubnetId))
		}
	}
	for _, g := range w.groups {
		for _, s := range g.Subnets {
			note(s)
		}
	}
	if w.cluster != nil && w.cluster.ResourcesVpcConfig != nil {
		for _, s := range w.cluster.ResourcesVpcConfig.SubnetIds {
			note(s)
		}
	}
	for _, z := range []string{w.dbZone(), w.standbyZone()} {
		if z != "" {
			zones[z] = true
		}
	}
	w.zones = account.SortedKeys(zones)
	return w, nil
}

// zoneID is the id of a zone that RDS names.
func (w *resWorld) zoneID(name string) string {
	for _, s := range w.subnets {
		if s.zoneName == name && name != "" {
			return s.zone
		}
	}
	return name
}

func (w *resWorld) dbZone() string {
	if w.db == nil {
		return ""
	}
	return w.zoneID(aws.ToString(w.db.AvailabilityZone))
}

func (w *resWorld) standbyZone() string {
	if w.db == nil || !aws.ToBool(w.db.MultiAZ) {
		return ""
	}
	return w.zoneID(aws.ToString(w.db.SecondaryAvailabilityZone))
}

// loss is what a single failure takes away.
type loss struct {
	zone, nat, group string
	database         bool
}

// outcome collects what goes on and what doesn't.
type outcome struct {
	Survival
}

func (o *outcome) still(format string, args ...any) {
	o.Still = append(o.Still, fmt.Sprintf(format, args...))
}

func (o *outcome) loses(format string, args ...any) {
	o.Loss = append(o.Loss, fmt.Sprintf(format, args...))
}

// fails loses what users can't do without.
func (o *outcome) fails(format string, args ...any) {
	o.Survives = false
	o.loses(format, args...)
}

// Survivals say which single failures the deployment survives, from what
// stands in the account alone: each zone in use, each NAT, each node group, the
// database. First comes what serves now.
func Survivals(l *account.Look) []Survival {
	w, err := readWorld(l)
	if err != nil {
		return []Survival{{Failure: "any", Still: []string{}, Loss: []string{}, Reason: err.Error()}}
	}
	out := []Survival{w.without("none", loss{})}
	for _, z := range w.zones {
		out = append(out, w.without("zone "+z, loss{zone: z}))
	}
	for _, n := range w.nats {
		kind := "NAT gateway"
		if strings.HasPrefix(n.id, "i-") {
			kind = "NAT instance"
		}
		out = append(out, w.without(fmt.Sprintf("%s in %s", kind, w.subnets[n.subnet].zone), loss{nat: n.id}))
	}
	slices.SortStableFunc(out[1+len(w.zones):], func(a, b Survival) int { return cmp.Compare(a.Failure, b.Failure) })
	groups := slices.Clone(w.groups)
	slices.SortFunc(groups, func(a, b account.NodeGroup) int { return cmp.Compare(w.groupName(a), w.groupName(b)) })
	for _, g := range groups {
		out = append(out, w.without("node group "+w.groupName(g), loss{group: g.Name()}))
	}
	if w.db != nil {
		out = append(out, w.without("database instance in "+w.dbZone(), loss{database: true}))
	}
	return out
}

// groupRoles are the roles that a node group serves, by its labels.
func (w *resWorld) groupRoles(g account.NodeGroup) []config.Role {
	var out []config.Role
	for _, r := range w.roles {
		if slices.Contains(g.Roles, r) {
			out = append(out, r)
		}
	}
	return out
}

// groupName names a node group for people: roles and zones. Its own name is
// CloudFormation's.
func (w *resWorld) groupName(g account.NodeGroup) string {
	var roles, zones []string
	for _, r := range w.groupRoles(g) {
		roles = append(roles, string(r))
	}
	for _, s := range g.Subnets {
		zones = append(zones, w.subnets[s].zone)
	}
	slices.Sort(zones)
	if len(roles) == 0 {
		roles = []string{g.Name()}
	}
	return strings.Join(roles, "+") + " in " + strings.Join(slices.Compact(zones), ", ")
}

// without is what happens when one thing is lost.
func (w *resWorld) without(failure string, lost loss) Survival {
	o := &outcome{Survival{Failure: failure, Survives: true, Still: []string{}, Loss: []string{}}}
	w.ways(o, lost)
	w.work(o, lost)
	w.egress(o, lost)
	w.data(o, lost)
	w.control(o, lost)
	return o.Survival
}

// ways looks at the load balancers.
func (w *resWorld) ways(o *outcome, lost loss) {
	for _, part := range []string{account.WebPart, account.AdminPart} {
		i := slices.IndexFunc(w.balancers, func(b account.Balancer) bool { return b.Part == part })
		if i < 0 {
			o.way(part, "the %s load balancer is not there", part)
			continue
		}
		b := w.balancers[i]
		zones := w.alive(w.faces[b.ARN()], lost.zone)
		if len(zones) == 0 {
			o.way(part, "the %s load balancer, which is in no other zone", part)
			continue
		}
		o.still("the %s load balancer in %s", part, strings.Join(zones, ", "))
		w.signOn(o, part, b, zones, lost)
	}
}

// way loses a way in: users can't do without theirs, administrators can wait.
func (o *outcome) way(part, format string, args ...any) {
	if part == account.WebPart {
		o.fails(format, args...)
		return
	}
	o.loses(format, args...)
}

// signOn looks at how an internal load balancer reaches the identity provider:
// from its subnets, as it has no public address.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
func (w *resWorld) signOn(o *outcome, part string, b account.Balancer, zones []string, lost loss) {
	if !w.sso || string(b.Scheme) != config.SchemeInternal {
		return
	}
	var out, cut []string
	for _, z := range b.AvailabilityZones {
		s := w.subnets[aws.ToString(z.SubnetId)]
		if !slices.Contains(zones, s.zone) {
			continue
		}
		if w.reaches(s.id, lost) {
			out = append(out, s.zone)
		} else {
			cut = append(cut, s.zone)
		}
	}
	slices.Sort(cut)
	switch {
	case len(out) == 0:
		o.way(part, "sign-on at the %s load balancer, which no longer reaches the identity provider", part)
	case len(cut) > 0:
		o.loses("sign-on at the %s load balancer in %s, for part of the requests", part, strings.Join(cut, ", "))
	}
}

// alive are the distinct zones of a list but for the lost one, sorted.
func (w *resWorld) alive(zones []string, lost string) []string {
	out := slices.DeleteFunc(slices.Clone(zones), func(z string) bool { return z == lost || z == "" })
	slices.Sort(out)
	return slices.Compact(out)
}

// work looks at the nodes by role.
func (w *resWorld) work(o *outcome, lost loss) {
	for _, role := range w.roles {
		all, left, room := 0, 0, 0
		var zones []string
		for _, g := range w.groups {
			if !slices.Contains(w.groupRoles(g), role) {
				continue
			}
			name := g.Name()
			here := 0
			for _, n := range w.nodes {
				if n.Group != name {
					continue
				}
				all++
				zone := w.subnets[n.Subnet].zone
				if name != lost.group && zone != lost.zone {
					here++
					zones = append(zones, zone)
				}
			}
			left += here
			if name != lost.group && w.elsewhere(g, lost.zone) && g.ScalingConfig != nil {
				room += max(0, int(aws.ToInt32(g.ScalingConfig.MaxSize))-here)
			}
		}
		zones = w.alive(zones, lost.zone)
		switch {
		case left == 0 && role == config.GPU:
			o.loses("all %s nodes, which serve the models", role)
		case left == 0:
			o.fails("all %s nodes", role)
		default:
			o.still("%d of %d %s nodes, in %s", left, all, role, strings.Join(zones, ", "))
		}
		if gone := all - left; gone > 0 && left > 0 {
			o.loses("%d of %d %s nodes; the groups that are left may grow by %d", gone, all, role, room)
		}
	}
}

// elsewhere tells whether a node group has a subnet outside a zone.
func (w *resWorld) elsewhere(g account.NodeGroup, zone string) bool {
	return slices.ContainsFunc(g.Subnets, func(s string) bool { return w.subnets[s].zone != zone })
}

// reaches tells whether a subnet still reaches the internet, or what its
// default route leads to.
func (w *resWorld) reaches(subnet string, lost loss) bool {
	to := w.routes[subnet]
	return len(to) > 0 && !slices.ContainsFunc(to, func(target string) bool { return !w.works(target, lost) })
}

// works tells whether the target of a default route still does.
func (w *resWorld) works(to string, lost loss) bool {
	if !strings.HasPrefix(to, "nat-") && !strings.HasPrefix(to, "eni-") && !strings.HasPrefix(to, "i-") {
		return true
	}
	for _, n := range w.nats {
		if slices.Contains(n.targets, to) {
			return n.id != lost.nat && w.subnets[n.subnet].zone != lost.zone
		}
	}
	return false
}

// atRunTime are the services that pods can't do without while they run: they
// take credentials, decrypt fields and read secrets. Images and logs can wait.
func atRunTime() []string { return []string{"kms", "secretsmanager", "sts"} }

// egress looks at the ways out of the nodes that are left: by NAT, and for what
// the application needs at run time by endpoint or by the configured proxy, which
// is taken to work.
func (w *resWorld) egress(o *outcome, lost loss) {
	var out, cut []string
	for _, n := range w.nodes {
		zone := w.subnets[n.Subnet].zone
		if n.NAT || zone == lost.zone || n.Group == lost.group {
			continue
		}
		if w.reaches(n.Subnet, lost) {
			out = append(out, zone)
		} else {
			cut = append(cut, zone)
		}
	}
	out, cut = w.alive(out, ""), w.alive(cut, "")
	if len(out) > 0 {
		o.still("the way out of nodes in %s", strings.Join(out, ", "))
	}
	// A deployment without any NAT has nothing to lose here.
	if len(cut) > 0 && len(w.nats) > 0 {
		again := ""
		if strings.HasPrefix(lost.nat, "i-") {
			again = ", until its group has replaced the instance"
		}
		o.loses("the way out of nodes in %s%s", strings.Join(cut, ", "), again)
	}
	var closed []string
	for _, s := range atRunTime() {
		if !w.endpoint(s, lost.zone) {
			closed = append(closed, s)
		}
	}
	switch {
	case len(out)+len(cut) == 0: // no nodes are left to go anywhere
	case len(closed) == 0:
		o.still("AWS's APIs by endpoint: %s", strings.Join(atRunTime(), ", "))
	case len(out) == 0 && w.proxy:
		o.still("AWS's APIs by the configured proxy: %s", strings.Join(closed, ", "))
	case len(out) == 0:
		o.fails("the AWS APIs %s: no node reaches them, and they have no endpoint", strings.Join(closed, ", "))
	}
}

// endpoint tells whether a service has an interface endpoint outside a zone.
func (w *resWorld) endpoint(service, lost string) bool {
	return slices.ContainsFunc(w.endpoints[service], func(s string) bool {
		z := w.subnets[s].zone
		return z != "" && z != lost
	})
}

// data looks at the database.
func (w *resWorld) data(o *outcome, lost loss) {
	if w.db == nil {
		o.fails("the database is not there")
		return
	}
	zone, standby := w.dbZone(), w.standbyZone()
	gone := lost.database || lost.zone != "" && lost.zone == zone
	switch {
	case !gone && standby != "" && standby == lost.zone:
		o.still("the database in %s", zone)
		o.loses("the database's standby, until RDS has made another")
	case !gone && standby != "":
		o.still("the database in %s, with a standby in %s", zone, standby)
	case !gone:
		o.still("the database in %s, without a standby", zone)
	case standby != "":
		o.still("the database in %s, by failover", standby)
		// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.MultiAZSingleStandby.html
		o.loses("the database for the minute or two of its failover, and then its standby until RDS has made another")
	default:
		o.fails("the database, which has no standby: %s", w.restore())
	}
}

// restore says what a restored database would have.
func (w *resWorld) restore() string {
	if aws.ToInt32(w.db.BackupRetentionPeriod) == 0 || w.db.LatestRestorableTime == nil {
		return "there is no backup to restore it from"
	}
	return "it must be restored from its backup, which goes up to " + w.db.LatestRestorableTime.UTC().Format(time.RFC3339)
}

// control looks at the control plane, which EKS runs in several zones and
// reaches into the VPC from the cluster's subnets.
func (w *resWorld) control(o *outcome, lost loss) {
	if w.cluster == nil || w.cluster.ResourcesVpcConfig == nil {
		o.fails("the cluster is not there")
		return
	}
	var zones []string
	for _, s := range w.cluster.ResourcesVpcConfig.SubnetIds {
		zones = append(zones, w.subnets[s].zone)
	}
	zones = w.alive(zones, lost.zone)
	if len(zones) == 0 {
		o.fails("the Kubernetes API, which is in no other zone")
		return
	}
	o.still("the Kubernetes API in %s", strings.Join(zones, ", "))
}
