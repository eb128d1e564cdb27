package config

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// checker collects what is wrong with a decoded configuration.
type checker struct {
	c *Config
	// unread are the paths whose values aren't the file's: whatever is wrong
	// with them follows from a fault of the decoder.
	unread   []string
	faults   Faults
	patterns map[string]*regexp.Regexp
}

func validate(c *Config, unread []string) Faults {
	k := &checker{c: c, unread: unread, patterns: map[string]*regexp.Regexp{}}
	// What names the mistake best goes first: a path has one fault of a kind.
	k.identity()
	k.network()
	k.cluster()
	for i := range c.Compute {
		k.group(&c.Compute[i])
	}
	k.database()
	k.storage()
	k.access()
	k.sso()
	k.dns()
	k.backups()
	k.proxies()
	k.trust()
	k.apply(Rules(), "", "", reflect.ValueOf(c).Elem())
	return k.faults
}

// fault reports a fault unless the path has one already.
func (k *checker) fault(path, reason, fix string) {
	if slices.ContainsFunc(k.faults, func(f Fault) bool { return f.Path == path }) ||
		slices.ContainsFunc(k.unread, func(u string) bool { return under(path, u) || under(u, path) }) {
		return
	}
	k.faults = append(k.faults, k.c.Fault(path, reason, fix))
}

// under says whether a path is another or lies below it.
func under(path, other string) bool {
	rest, ok := strings.CutPrefix(path, other)
	return ok && other != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

func (k *checker) given(path string) bool {
	_, ok := k.c.source.places[path]
	return ok
}

func (k *checker) identity() {
	c := k.c
	if c.Name == "aws" {
		k.fault("name", `"aws" is reserved for AWS's own key aliases`, "choose another name")
	}
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
	// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
	for _, p := range []string{"internal-", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(c.Name, p) {
			k.fault("name", quoted(c.Name)+" begins with "+p+", which AWS reserves", "choose another name")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.Tags)) {
		for _, p := range []string{"aws:", "poolhouse:", "kubernetes.io/"} {
			if strings.HasPrefix(strings.ToLower(key), p) {
				k.fault(child("tags", key), "tags that begin with "+p+" are reserved", "choose another key")
			}
		}
	}
	k.arn("permissionBoundary", c.PermissionBoundary, "")
	k.arn("serviceRole", c.ServiceRole, "")
	// IAM Identity Center alone is trusted by the roles that it makes, and it
	// makes them again under other names.
	// https://docs.aws.amazon.com/singlesignon/latest/userguide/referencingpermissionsets.html
	if generated(c.ServiceRole) {
		k.fault("serviceRole", quoted(c.ServiceRole)+" is a role that IAM Identity Center generates, which CloudFormation can't assume and whose name changes",
			"name a role of your own that cloudformation.amazonaws.com may assume, or remove it")
	}
	k.arn("certificate.arn", c.Certificate.ARN, c.Region)
	k.arn("database.snapshot", c.Database.Snapshot, c.Region)
	// These have to lie in the account of the deployment, so they agree.
	var account, holder string
	for _, a := range []struct{ path, arn string }{
		{"serviceRole", c.ServiceRole},
		{"permissionBoundary", c.PermissionBoundary},
		{"certificate.arn", c.Certificate.ARN},
	} {
		id := arnField(a.arn, 4)
		switch {
		case len(id) != 12: // "aws" owns the managed policies
		case account == "":
			account, holder = id, a.path
		case id != account:
			k.fault(a.path, fmt.Sprintf("is in account %s, but %s is in %s", id, holder, account), "name one in the account of the deployment")
		}
	}
}

// generated tells that an ARN names a role that IAM Identity Center makes.
func generated(arn string) bool {
	return strings.Contains(arn, ":role/aws-reserved/") || strings.Contains(arn, "/AWSReservedSSO_")
}

// Partition is the part of AWS that the region belongs to: aws, aws-us-gov or
// aws-cn.
func (c *Config) Partition() string {
	switch {
	case strings.HasPrefix(c.Region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(c.Region, "cn-"):
		return "aws-cn"
	}
	return "aws"
}

// arn checks partition and region of an ARN; its form is the rules' affair.
func (k *checker) arn(path, arn, region string) {
	if !strings.HasPrefix(arn, "arn:") || !k.pattern(regionPattern).MatchString(k.c.Region) {
		return
	}
	if p := arnField(arn, 1); p != k.c.Partition() {
		k.fault(path, fmt.Sprintf("is of partition %s, but region %s belongs to %s", quoted(p), k.c.Region, k.c.Partition()), "name one that begins with arn:"+k.c.Partition()+":")
		return
	}
	if r := arnField(arn, 3); region != "" && r != region {
		k.fault(path, fmt.Sprintf("is in region %s, not %s", quoted(r), region), "name one in "+region)
	}
}

// arnField is a field of an ARN by index, or "".
func arnField(arn string, i int) string {
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) < 6 {
		return ""
	}
	return fields[i]
}

func private() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
	}
}

func within(p netip.Prefix, ranges []netip.Prefix) bool {
	return slices.ContainsFunc(ranges, func(r netip.Prefix) bool {
		return r.Bits() <= p.Bits() && r.Contains(p.Addr())
	})
}

// prefix parses an IPv4 range and reports what isn't one, or not in the form
// that AWS keeps it in.
func (k *checker) prefix(path, s string) (netip.Prefix, bool) {
	if s == "" {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		fix := "write an IPv4 range such as 10.80.0.0/16"
		if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
			fix = "write " + s + "/32 for one address"
		}
		k.fault(path, quoted(s)+" is not a range of addresses", fix)
		return p, false
	}
	if !p.Addr().Is4() {
		reason := "is an IPv6 range, and the deployment's network is IPv4"
		if p.Bits() == 0 {
			reason = "lets everyone in"
		}
		k.fault(path, quoted(s)+" "+reason, "write IPv4 ranges")
		return p, false
	}
	if p != p.Masked() {
		k.fault(path, quoted(s)+" has bits set beyond its length", "write "+p.Masked().String())
		return p, false
	}
	return p, true
}

func (k *checker) network() {
	n := &k.c.Network
	vpc, vpcOK := k.prefix("network.cidr", n.CIDR)
	if vpcOK && n.Exists() {
		// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
		if vpc.Bits() < 16 || vpc.Bits() > 28 {
			k.fault("network.cidr", quoted(n.CIDR)+" is the range of no VPC, which have sizes from /16 to /28", "write the primary range of the VPC in network.existing.vpcId")
		}
	} else if vpcOK {
		carrier := append(private(), carrierGrade)
		switch {
		case vpc.Bits() < 16 || vpc.Bits() > 20:
			k.fault("network.cidr", quoted(n.CIDR)+" is not of a size from /16 to /20", "write "+netip.PrefixFrom(vpc.Addr(), 16).Masked().String())
		case !within(vpc, carrier):
			k.fault("network.cidr", quoted(n.CIDR)+" is not private", "choose a range in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10")
		}
	}
	// https://docs.aws.amazon.com/eks/latest/APIReference/API_KubernetesNetworkConfigRequest.html
	const services = "cluster.serviceCidr"
	if p, ok := k.prefix(services, k.c.Cluster.ServiceCIDR); ok {
		switch {
		case p.Bits() < 12 || p.Bits() > 24:
			k.fault(services, quoted(p.String())+" is not of a size from /12 to /24", "write a /16, such as 172.20.0.0/16")
		case !within(p, private()):
			k.fault(services, quoted(p.String())+" is not private", "choose a range in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")
		case vpcOK && p.Overlaps(vpc):
			path, other := services, "network.cidr "+vpc.String()
			if !k.given(services) {
				path, other = "network.cidr", "cluster.serviceCidr "+p.String()
			}
			k.fault(path, "overlaps with "+other, "choose ranges that don't overlap")
		}
	}
	self := n.NAT.Mode == NATInstancePerZone || n.NAT.Mode == NATSingleInstance
	switch {
	case k.given("network.nat.instanceType") && !self:
		k.fault("network.nat.instanceType", "has no effect with NAT mode "+string(n.NAT.Mode), "remove it, or choose instance-per-zone or single-instance")
	case self && n.NAT.InstanceType != "" && !arm(n.NAT.InstanceType):
		k.fault("network.nat.instanceType", quoted(n.NAT.InstanceType)+" is not arm64", "write an arm64 instance type such as t4g.medium")
	}
	if n.NAT.Announce != "" && n.NAT.Announce == n.NAT.Mode {
		k.fault("network.nat.announce", "is what network.nat.mode is already", "remove it: its addresses are in use")
	}
	for i, e := range n.Endpoints {
		path := fmt.Sprintf("network.endpoints[%d]", i)
		if e == "s3" {
			reason, fix := "S3 has a gateway endpoint, which is always there", "remove it"
			if n.Exists() {
				reason, fix = "S3's gateway endpoint belongs to the route tables, which are not changed", "remove it, and see to a gateway endpoint in the network itself"
			}
			k.fault(path, reason, fix)
		}
		if strings.HasPrefix(e, "com.amazonaws.") || strings.HasPrefix(e, "cn.com.amazonaws.") {
			short := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(e, "cn."), "com.amazonaws."), k.c.Region+".")
			k.fault(path, quoted(e)+" holds the region", "write "+short)
		}
	}
	if _, given := k.c.source.places["network.existing"]; given || n.Exists() {
		k.existing()
		return
	}
	k.routing(vpc, vpcOK)
}

// allowList checks ranges that may connect to something.
func (k *checker) allowList(path string, cidrs []string, internet bool) {
	for i, s := range cidrs {
		at := fmt.Sprintf("%s[%d]", path, i)
		p, ok := k.prefix(at, s)
		switch {
		case !ok:
		case p.Bits() == 0:
			k.fault(at, quoted(s)+" lets everyone in", "name the ranges of those who need access, such as your office's")
		case p.Bits() < 8:
			k.fault(at, quoted(s)+" is larger than /8", "name smaller ranges")
		case internet && (within(p, private()) || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() || p.Addr().IsMulticast()):
			k.fault(at, quoted(s)+" is never the source of a request over the internet", "name the public addresses that requests come from")
		}
	}
}

func (k *checker) cluster() {
	c := &k.c.Cluster
	k.allowList("cluster.publicAccessCidrs", c.PublicAccessCIDRs, true)
	k.allowList("cluster.api.allowCidrs", c.API.AllowCIDRs, false)
	for i, a := range c.Administrators {
		k.administrator(fmt.Sprintf("cluster.administrators[%d]", i), a)
	}
	// One administrator who leaves would lock everyone out.
	if k.c.Profile == Production && len(c.Administrators) < 2 {
		k.fault("cluster.administrators", fmt.Sprintf("has %d entries; production needs two", len(c.Administrators)), "list the ARNs of two IAM roles or users")
	}
}

func (k *checker) administrator(path, arn string) {
	role, session := strings.CutPrefix(arnField(arn, 5), "assumed-role/")
	switch {
	case strings.ContainsAny(arn, "*?"):
		k.fault(path, quoted(arn)+" has a wildcard, which access entries don't take", "name one role or user")
	case session && arnField(arn, 2) == "sts":
		name, _, _ := strings.Cut(role, "/")
		fix := fmt.Sprintf("write its role: arn:%s:iam::%s:role/%s", arnField(arn, 1), arnField(arn, 4), name)
		if strings.HasPrefix(name, "AWSReservedSSO_") {
			// IAM Identity Center makes its roles below a path with its region.
			fix = fmt.Sprintf("write its role with the path that IAM shows: arn:%s:iam::%s:role/aws-reserved/sso.amazonaws.com/<region>/%s", arnField(arn, 1), arnField(arn, 4), name)
		}
		k.fault(path, quoted(arn)+" is a session, not a role", fix)
	case strings.HasSuffix(arn, ":root"):
		k.fault(path, quoted(arn)+" is the account, not a role or user", "name one role or user")
	}
	k.arn(path, arn, "")
}

func (k *checker) database() {
	d := &k.c.Database
	// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.Autoscaling.html
	if d.MaxStorageGiB < d.StorageGiB || d.MaxStorageGiB > d.StorageGiB && d.MaxStorageGiB*10 < d.StorageGiB*11 {
		path := "database.maxStorageGiB"
		if !k.given(path) {
			path = "database.storageGiB"
		}
		k.fault(path, fmt.Sprintf("storage of %d GiB can't grow to %d", d.StorageGiB, d.MaxStorageGiB),
			fmt.Sprintf("set maxStorageGiB to %d or more, or to %d for storage that doesn't grow", (d.StorageGiB*11+9)/10, d.StorageGiB))
	}
	if zones := k.c.Network.Zones; zones > 1 && d.PreferredZone > zones {
		k.fault("database.preferredZone", fmt.Sprintf("is %d of %d zones", d.PreferredZone, k.c.Network.Zones), fmt.Sprintf("write a number from 1 to %d", k.c.Network.Zones))
	}
	k.windows()
}

// span is a time in minutes from Sunday midnight, and a duration.
type span struct{ start, length int }

const day, week = 24 * 60, 7 * 24 * 60

func (k *checker) windows() {
	backup, backupOK := k.window("database.backupWindow", k.c.Database.BackupWindow, day)
	maintenance, maintenanceOK := k.window("database.maintenanceWindow", k.c.Database.MaintenanceWindow, week)
	if !backupOK || !maintenanceOK {
		return
	}
	for start := backup.start; start < backup.start+week; start += day {
		gap := (maintenance.start - start + week) % week
		if gap < backup.length || week-gap < maintenance.length {
			path := "database.backupWindow"
			if !k.given(path) {
				path = "database.maintenanceWindow"
			}
			k.fault(path, fmt.Sprintf("backup window %s overlaps with maintenance window %s", k.c.Database.BackupWindow, k.c.Database.MaintenanceWindow), "move one of them")
			return
		}
	}
}

// window parses a window that repeats every so many minutes.
func (k *checker) window(path, s string, every int) (span, bool) {
	from, to, ok := strings.Cut(s, "-")
	start, err1 := minutes(from)
	end, err2 := minutes(to)
	if !ok || err1 != nil || err2 != nil {
		return span{}, false // the rules report the form
	}
	w := span{start, (end - start + every) % every}
	if w.length < 30 {
		k.fault(path, quoted(s)+" is shorter than 30 minutes", "leave 30 minutes at least")
		return w, false
	}
	if w.length >= day {
		k.fault(path, quoted(s)+" is not shorter than a day", "leave less than 24 hours")
		return w, false
	}
	return w, true
}

func minutes(s string) (int, error) {
	at := 0
	if d, rest, ok := strings.Cut(s, ":"); ok && len(d) == 3 {
		at = day * slices.Index([]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, d)
		s = rest
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, err
	}
	return at + t.Hour()*60 + t.Minute(), nil
}

func (k *checker) storage() {
	owners := map[string]string{}
	for _, b := range k.c.Storage.buckets() {
		path := "storage." + b.Key
		lock := b.Bucket.ObjectLock
		switch {
		case b.Key != "audit" && lock.Mode != LockOff:
			k.fault(path+".objectLock.mode", "only audit may have object lock", "remove it")
		case b.Key != "audit":
		case lock.Mode == LockOff && lock.Days != 0:
			k.fault(path+".objectLock.days", "has no effect while objectLock.mode is off", "remove it, or set mode to governance")
		case (lock.Mode == LockGovernance || lock.Mode == LockCompliance) && lock.Days == 0:
			k.fault(path+".objectLock.days", "is 0, so that nothing is kept", "write how many days each object is kept")
		}
		if b.Bucket.ExpireDays > 0 && b.Bucket.ExpireDays < lock.Days {
			k.fault(path+".expireDays", fmt.Sprintf("objects expire after %d days but are locked for %d", b.Bucket.ExpireDays, lock.Days), fmt.Sprintf("write 0, or %d or more", lock.Days))
		}
		if ia := b.Bucket.InfrequentAccessDays; b.Bucket.ExpireDays > 0 && ia >= b.Bucket.ExpireDays {
			at := path + ".expireDays"
			if !k.given(at) {
				at = path + ".infrequentAccessDays"
			}
			k.fault(at, fmt.Sprintf("objects expire after %d days, before they move to infrequent access after %d", b.Bucket.ExpireDays, ia), "set infrequentAccessDays to 0, or expireDays higher")
		}
		name := b.Bucket.Name
		if name == "" {
			continue
		}
		at := path + ".name"
		if other, ok := owners[name]; ok {
			k.fault(at, quoted(name)+" is the name of storage."+other+" too", "choose another name")
		}
		owners[name] = b.Key
		// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
		for _, p := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
			if strings.HasPrefix(name, p) {
				k.fault(at, quoted(name)+" begins with "+p+", which S3 reserves", "choose another name")
			}
		}
		for _, p := range []string{"-s3alias", "--ol-s3", "--x-s3", "--table-s3"} {
			if strings.HasSuffix(name, p) {
				k.fault(at, quoted(name)+" ends with "+p+", which S3 reserves", "choose another name")
			}
		}
	}
}

func (k *checker) dns() {
	c := k.c
	hosts := []struct{ path, host string }{
		{"access.web.host", c.Access.Web.Host},
		{"access.api.host", c.Access.API.Host},
		{"access.admin.host", c.Access.Admin.Host},
	}
	for i, h := range hosts {
		for _, other := range hosts[:i] {
			if h.host != "" && h.host == other.host {
				k.fault(h.path, quoted(h.host)+" is "+other.path+" too", "give each way in a host name of its own")
			}
		}
		if zone := c.DNS.Zone; c.DNS.Mode == DNSCreateZone && zone != "" && h.host != "" && h.host != zone && !strings.HasSuffix(h.host, "."+zone) {
			k.fault(h.path, quoted(h.host)+" is not in zone "+zone, "choose a name below "+zone)
		}
	}
	// A certificate's common name is its first host
	// (https://docs.aws.amazon.com/acm/latest/APIReference/API_RequestCertificate.html).
	if c.Certificate.ARN == "" && c.DNS.Mode != DNSNone && len(c.Access.Web.Host) > 64 {
		k.fault("access.web.host", "has more than 64 characters, which a certificate can't name first", "shorten it, or name a certificate.arn")
	}
	unused := func(path, value string) {
		if value != "" {
			k.fault(path, "has no effect with dns.mode "+string(c.DNS.Mode), "remove it")
		}
	}
	switch c.DNS.Mode {
	case DNSCreateZone:
		if c.DNS.Zone == "" {
			k.fault("dns.zone", "is missing, and dns.mode is create-zone", "write the domain of the zone to create")
		}
		unused("dns.zoneId", c.DNS.ZoneID)
	case DNSExistingZone:
		if c.DNS.ZoneID == "" {
			k.fault("dns.zoneId", "is missing, and dns.mode is existing-zone", "write the id of the hosted zone, such as Z0123456789ABCDEFGHIJ")
		}
		unused("dns.zone", c.DNS.Zone)
	case DNSNone:
		unused("dns.zone", c.DNS.Zone)
		unused("dns.zoneId", c.DNS.ZoneID)
		if c.Certificate.ARN == "" {
			k.fault("certificate.arn", "is missing: without a zone no certificate can be issued here", "name an existing certificate, or choose another dns.mode")
		}
	}
}

func (k *checker) backups() {
	fields := strings.Fields(strings.TrimSuffix(strings.TrimPrefix(k.c.Backups.Schedule, "cron("), ")"))
	if len(fields) == 6 && (fields[2] == "?") == (fields[4] == "?") {
		// https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based
		k.fault("backups.schedule", quoted(k.c.Backups.Schedule)+" must have ? for the day of the month or the day of the week, not both", "write for example cron(0 4 * * ? *)")
	}
}
