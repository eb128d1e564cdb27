package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Rule is what a single value must be, apart from its type. A text's Min and Max
// count characters.
type Rule struct {
	// Required keys have no default: the file must name them.
	Required bool
	// Enum are the texts and Values the numbers that are allowed.
	Enum   []string
	Values []int
	// Pattern is a regular expression, and Form the same in words.
	Pattern string
	Form    string
	// Min and Max bound a number, or the length of a text; both 0: unbounded.
	Min, Max int
	// Zero allows 0 besides the range.
	Zero bool
	// MinItems and MaxItems bound a list or map. Items of lists are distinct.
	MinItems, MaxItems int
	// Keys are a map's keys, as Enum, Pattern and so on for its keys.
	Keys *Rule
}

const (
	regionPattern   = `^(af|ap|ca|cn|eu|il|me|mx|sa|us|us-gov)-(central|north|south|east|west|northeast|northwest|southeast|southwest)-[1-9]$`
	hostPattern     = `^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$`
	instancePattern = `^[a-z]+[0-9]+[a-z]*(-[a-z0-9]+)?\.(nano|micro|small|medium|large|xlarge|[0-9]+xlarge|metal|metal-[0-9]+xl)$`
	cidrPattern     = `^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$`
	httpsPattern    = `^https://[^\s?#@]+$`
	proxyPattern    = `^https?://[A-Za-z0-9.-]+:[0-9]{1,5}/?$`
	noProxyPattern  = `^\.?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(/[0-9]{1,2})?$`
	windowPattern   = `([01][0-9]|2[0-3]):[0-5][0-9]`
	dayPattern      = `(mon|tue|wed|thu|fri|sat|sun)`
	pathPattern     = `[A-Za-z0-9+=,.@_/-]+`
)

// idPattern is the form of EC2's ids.
func idPattern(kind string) string { return `^` + kind + `-[0-9a-f]{8,17}$` }

// Rules are the rules of all keys by path, with [] for the items of a list and
// {} for the values of a map: "compute[].taints[].key", "tags{}".
func Rules() map[string]Rule {
	retention := Rule{Values: []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}}
	cidr := Rule{Pattern: cidrPattern, Form: "an IPv4 range such as 10.80.0.0/16"}
	requiredCIDR := cidr
	requiredCIDR.Required = true
	subnet := Rule{Pattern: idPattern("subnet"), Form: "the id of a subnet, such as subnet-0123456789abcdef0"}
	host := Rule{Required: true, Pattern: hostPattern, Form: "a host name in lower case, such as poolside.example.com", Max: 253}
	https := Rule{Pattern: httpsPattern, Form: "an https URL without query", Max: 1024}
	client := Rule{Form: "the client id of the provider", Pattern: `^\S+$`, Max: 1024}
	secret := Rule{
		Pattern: `^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}$`,
		Form:    "the full ARN of a secret, such as arn:aws:secretsmanager:us-east-1:123456789012:secret:poolside/web-AbCdEf",
	}
	proxy := Rule{Pattern: proxyPattern, Form: "the URL of a proxy with its port, such as http://proxy.corp.example.com:3128", Max: 512}
	scheme := Rule{Enum: []string{SchemeInternetFacing, SchemeInternal}}
	// A load balancer's security group takes 60 rules
	// (https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html),
	// and each range needs one for 443 and one for 80.
	allow := Rule{MaxItems: 25}
	days := Rule{Min: 1, Max: 36500, Zero: true}
	instance := Rule{Pattern: instancePattern, Form: "an EC2 instance type such as m7i.xlarge"}

	rules := map[string]Rule{
		"apiVersion": {Required: true, Enum: []string{APIVersion}},
		"name": {
			Required: true, Min: 3, Max: 24, Pattern: `^[a-z][a-z0-9]*(-[a-z0-9]+)*$`,
			Form: "3 to 24 lower-case letters, digits and single hyphens that begin with a letter, such as poolside",
		},
		"region": {
			Required: true, Pattern: regionPattern,
			Form: "an AWS region such as us-east-1",
		},
		"profile": {Required: true, Enum: []string{string(Evaluation), string(Production)}},
		// 50 tags a resource, less those that the deployment sets itself.
		"tags": {
			MaxItems: 40,
			Keys:     &Rule{Pattern: `^[\p{L}\p{Z}\p{N}_.:/=+\-@]+$`, Form: "letters, digits, spaces and _.:/=+-@", Min: 1, Max: 128},
		},
		"tags{}":             {Pattern: `^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`, Form: "letters, digits, spaces and _.:/=+-@", Max: 256},
		"permissionBoundary": {Pattern: `^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/` + pathPattern + `$`, Form: "the ARN of an IAM policy, such as arn:aws:iam::123456789012:policy/boundary"},
		"serviceRole":        {Pattern: `^arn:aws[a-z-]*:iam::[0-9]{12}:role/` + pathPattern + `$`, Form: "the ARN of an IAM role, such as arn:aws:iam::123456789012:role/cloudformation"},

		"network.cidr":                   cidr,
		"network.zones":                  {Min: 2, Max: 3},
		"network.nat.mode":               {Enum: []string{string(NATGatewayPerZone), string(NATSingleGateway), string(NATInstancePerZone), string(NATSingleInstance), string(NATNone)}},
		"network.nat.announce":           {Enum: []string{string(NATGatewayPerZone), string(NATSingleGateway), string(NATInstancePerZone), string(NATSingleInstance)}},
		"network.nat.instanceType":       {Pattern: instancePattern, Form: "an arm64 instance type such as t4g.medium"},
		"network.endpoints":              {MaxItems: 50},
		"network.endpoints[]":            {Pattern: `^[a-z0-9]+([.-][a-z0-9]+)*$`, Form: "the name of a service without region, such as ecr.api", Min: 1, Max: 64},
		"network.flowLogs.retentionDays": retention,
		"network.subnets.public":         {Min: 20, Max: 27, Zero: true},
		"network.subnets.controlPlane":   {Min: 24, Max: 27, Zero: true},
		"network.subnets.private":        {Min: 18, Max: 24, Zero: true},

		"network.existing.vpcId":                   {Pattern: idPattern("vpc"), Form: "the id of a VPC, such as vpc-0123456789abcdef0"},
		"network.existing.publicSubnetIds":         {MaxItems: 3},
		"network.existing.publicSubnetIds[]":       subnet,
		"network.existing.controlPlaneSubnetIds":   {MaxItems: 3},
		"network.existing.controlPlaneSubnetIds[]": subnet,
		"network.existing.privateSubnetIds":        {MaxItems: 3},
		"network.existing.privateSubnetIds[]":      subnet,
		"network.podCidr":                          cidr,
		"network.transitGateway.id":                {Pattern: idPattern("tgw"), Form: "the id of a transit gateway, such as tgw-0123456789abcdef0"},
		"network.transitGateway.cidrs":             {MaxItems: 20},
		"network.transitGateway.cidrs[]":           cidr,
		"network.routes":                           {MaxItems: 20},
		"network.routes[].cidr":                    requiredCIDR,
		"network.routes[].target":                  {Required: true, Pattern: idPattern("(pcx|vgw|tgw|eni|vpce)"), Form: "the id of a peering connection, virtual private gateway, transit gateway, interface or endpoint, such as pcx-0123456789abcdef0"},

		"cluster.version":             {Pattern: `^1\.(29|[3-9][0-9])$`, Form: "a Kubernetes version from 1.29, in quotes, such as \"1.35\""},
		"cluster.publicAccessCidrs":   {MaxItems: 40},
		"cluster.publicAccessCidrs[]": cidr,
		"cluster.administrators":      {MaxItems: 20},
		"cluster.administrators[]":    {Pattern: `^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/` + pathPattern + `$`, Form: "the ARN of an IAM role or user, such as arn:aws:iam::123456789012:role/platform"},
		"cluster.logs[]":              {Enum: []string{"api", "audit", "authenticator", "controllerManager", "scheduler"}},
		"cluster.logRetentionDays":    retention,
		"cluster.serviceCidr":         cidr,
		"cluster.addonVersions": {Keys: &Rule{Enum: []string{
			"vpc-cni", "kube-proxy", "coredns", "aws-ebs-csi-driver", "metrics-server", "snapshot-controller", "eks-pod-identity-agent",
		}}},
		"cluster.addonVersions{}": {Pattern: `^v[0-9]+\.[0-9]+\.[0-9]+-eksbuild\.[0-9]+$`, Form: "an add-on version such as v1.20.4-eksbuild.2", Min: 1, Max: 64},

		// An ACL takes 20 rules, and three are taken.
		"cluster.api.allowCidrs":   {MaxItems: 15},
		"cluster.api.allowCidrs[]": cidr,
		"cluster.api.proxy":        proxy,

		"compute[].role":            {Required: true, Enum: roleNames()},
		"compute[].also[]":          {Enum: []string{string(Interface)}},
		"compute[].instanceTypes":   {MinItems: 1, MaxItems: 20},
		"compute[].instanceTypes[]": instance,
		// An EKS node group takes 450 nodes.
		"compute[].min":             {Min: 0, Max: 450},
		"compute[].desired":         {Min: 0, Max: 450},
		"compute[].max":             {Min: 1, Max: 450},
		"compute[].diskGiB":         {Min: 20, Max: 16384},
		"compute[].labels":          {MaxItems: 30, Keys: &Rule{Pattern: labelPattern, Form: "a Kubernetes label key such as example.com/team", Min: 1, Max: 63}},
		"compute[].labels{}":        {Pattern: `^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$`, Form: "letters, digits, and _.- between them", Max: 63},
		"compute[].taints":          {MaxItems: 50},
		"compute[].taints[].key":    {Required: true, Pattern: labelPattern, Form: "a Kubernetes taint key such as example.com/team", Min: 1, Max: 63},
		"compute[].taints[].value":  {Pattern: `^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$`, Form: "letters, digits, and _.- between them", Max: 63},
		"compute[].taints[].effect": {Required: true, Enum: []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}},
		"compute[].reservation.id":  {Pattern: `^cr-[0-9a-f]{8,17}$`, Form: "the id of a capacity reservation, such as cr-0123456789abcdef0"},
		"compute[].reservation.zoneId": {
			Pattern: `^[a-z]{2,5}[1-9]-az[1-9]$`, Form: "a zone id such as use1-az4",
		},

		"database.instanceClass":     {Pattern: `^db\.[a-z]+[0-9]+[a-z]*\.(micro|small|medium|large|xlarge|[0-9]+xlarge)$`, Form: "a database instance class such as db.m7g.xlarge"},
		"database.version":           {Pattern: `^1[4-8](\.[0-9]{1,2})?$`, Form: "a PostgreSQL version from 14 to 18, in quotes, such as \"17\""},
		"database.storageGiB":        {Min: 20, Max: 65536},
		"database.maxStorageGiB":     {Min: 20, Max: 65536},
		"database.preferredZone":     {Min: 1, Max: 3},
		"database.backupDays":        {Min: 1, Max: 35},
		"database.backupWindow":      {Pattern: `^` + windowPattern + `-` + windowPattern + `$`, Form: "a daily window in UTC such as 01:00-02:00"},
		"database.maintenanceWindow": {Pattern: `^` + dayPattern + `:` + windowPattern + `-` + dayPattern + `:` + windowPattern + `$`, Form: "a weekly window in UTC such as sun:07:00-sun:08:00"},
		"database.snapshot":          {Pattern: `^(arn:aws[a-z-]*:rds:[a-z0-9-]+:[0-9]{12}:snapshot:)?(rds:|awsbackup:)?[A-Za-z][A-Za-z0-9-]*$`, Form: "the name or ARN of a snapshot", Max: 2048},
		"database.monitoringSeconds": {Values: []int{0, 1, 5, 10, 15, 30, 60}},

		"registry.repositories":   {MinItems: 1, MaxItems: 200},
		"registry.repositories[]": {Pattern: `^[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*$`, Form: "a repository name in lower case, such as core-api", Min: 2, Max: 200},
		"registry.untaggedDays":   {Min: 1, Max: 3650},

		"access.web.host":           host,
		"access.web.scheme":         scheme,
		"access.web.allowCidrs":     allow,
		"access.web.allowCidrs[]":   cidr,
		"access.api.host":           host,
		"access.admin.host":         host,
		"access.admin.scheme":       scheme,
		"access.admin.allowCidrs":   allow,
		"access.admin.allowCidrs[]": cidr,

		"access.sso.issuer":                https,
		"access.sso.authorizationEndpoint": https,
		"access.sso.tokenEndpoint":         https,
		"access.sso.userInfoEndpoint":      https,
		"access.sso.web.clientId":          client,
		"access.sso.web.secretArn":         secret,
		"access.sso.admin.clientId":        client,
		"access.sso.admin.secretArn":       secret,
		"access.sso.adminGroup":            {Pattern: `^[^\s].*$`, Form: "the name or id of a group", Max: 256},

		"dns.mode":   {Required: true, Enum: []string{string(DNSCreateZone), string(DNSExistingZone), string(DNSNone)}},
		"dns.zone":   {Pattern: hostPattern, Form: "a domain in lower case, such as example.com", Max: 253},
		"dns.zoneId": {Pattern: `^Z[0-9A-Z]{1,31}$`, Form: "the id of a hosted zone, such as Z0123456789ABCDEFGHIJ"},
		"certificate.arn": {
			Pattern: `^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[0-9a-f-]{36}$`,
			Form:    "the ARN of an ACM certificate, such as arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef",
		},
		"backups.schedule":      {Pattern: `^cron\(\S+( \S+){5}\)$`, Form: "an AWS cron expression of six fields, such as cron(0 4 * * ? *)"},
		"backups.retentionDays": {Min: 1, Max: 36500},
		"waf.rateLimit":         {Min: 100, Max: 2_000_000_000, Zero: true},
		"proxy.url":             proxy,
		"proxy.noProxy":         {MaxItems: 50},
		"proxy.noProxy[]":       {Pattern: noProxyPattern, Form: "a domain such as .corp.example.com, a host, or an IPv4 address or range", Max: 253},
		"deviations":            {Keys: &Rule{Pattern: `^[a-z0-9]+(-[a-z0-9]+)*$`, Form: "an id that validate names, such as no-sso", Min: 1, Max: 64}},
		"deviations{}":          {Min: 10, Max: 1000, Form: "the reason, in 10 characters or more"},
	}
	for _, b := range new(Storage).buckets() {
		at := "storage." + b.Key + "."
		rules[at+"name"] = Rule{Pattern: `^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`, Form: "a bucket name of lower-case letters, digits and hyphens", Min: 3, Max: 63}
		// https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html
		rules[at+"infrequentAccessDays"] = Rule{Min: 30, Max: 36500, Zero: true}
		rules[at+"expireDays"] = days
		rules[at+"noncurrentDays"] = days
		rules[at+"objectLock.mode"] = Rule{Enum: []string{LockOff}}
		rules[at+"objectLock.days"] = Rule{Values: []int{0}}
	}
	rules["storage.audit.objectLock.mode"] = Rule{Enum: []string{LockOff, LockGovernance, LockCompliance}}
	rules["storage.audit.objectLock.days"] = days
	return rules
}

const labelPattern = `^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$`

// apply checks every value under v against the rule of its path.
func (k *checker) apply(rules map[string]Rule, path, kind string, v reflect.Value) {
	rule, ruled := rules[kind]
	switch v.Kind() {
	case reflect.Struct:
		for i, key := range keys(v.Type()) {
			k.apply(rules, child(path, key), child(kind, key), v.Field(i))
		}
	case reflect.Slice:
		k.count(path, rule, v.Len())
		seen := map[string]bool{}
		for i := range v.Len() {
			at := fmt.Sprintf("%s[%d]", path, i)
			item := v.Index(i)
			if g, ok := item.Interface().(NodeGroup); ok {
				at = "compute[" + string(g.Role) + "]"
			}
			if item.Kind() == reflect.String {
				if seen[item.String()] {
					k.fault(at, quoted(item.String())+" is there twice", "remove one")
				}
				seen[item.String()] = true
			}
			k.apply(rules, at, kind+"[]", item)
		}
	case reflect.Map:
		k.count(path, rule, v.Len())
		for _, key := range v.MapKeys() {
			at := child(path, key.String())
			if rule.Keys != nil {
				k.text(at, *rule.Keys, key.String(), "the key ")
			}
			k.apply(rules, at, kind+"{}", v.MapIndex(key))
		}
	case reflect.String:
		s := v.String()
		switch {
		case s == "" && !k.given(path):
			if rule.Required {
				k.fault(path, "is missing", "write "+rule.Words())
			}
		case ruled:
			k.text(path, rule, s, "")
		}
	case reflect.Int:
		n := int(v.Int())
		bounded := rule.Min != 0 || rule.Max != 0
		switch {
		case n == 0 && rule.Zero:
		case len(rule.Values) > 0 && !slices.Contains(rule.Values, n), bounded && (n < rule.Min || n > rule.Max):
			k.fault(path, strconv.Itoa(n)+" is not allowed", "write "+rule.Words())
		}
	}
}

func (k *checker) count(path string, rule Rule, n int) {
	if n < rule.MinItems {
		k.fault(path, "is empty", fmt.Sprintf("list %d or more, or leave the key out", rule.MinItems))
	}
	if rule.MaxItems > 0 && n > rule.MaxItems {
		k.fault(path, fmt.Sprintf("has %d entries, more than %d", n, rule.MaxItems), fmt.Sprintf("keep %d at most", rule.MaxItems))
	}
}

func (k *checker) text(path string, rule Rule, s, what string) {
	n := utf8.RuneCountInString(s)
	switch {
	case len(rule.Enum) > 0 && !slices.Contains(rule.Enum, s):
		fix := "write " + rule.Words()
		if near := nearest(s, rule.Enum); near != "" {
			fix = "write " + near
		}
		k.fault(path, what+quoted(s)+" is not allowed", fix)
	case s == "" && !k.pattern(rule.Pattern).MatchString(s):
		k.fault(path, what+"is empty", "write "+rule.Words()+", or leave the key out")
	case rule.Max > 0 && n > rule.Max:
		k.fault(path, fmt.Sprintf("%s%s has %d characters, more than %d", what, quoted(s), n, rule.Max), "shorten it")
	case n < rule.Min:
		k.fault(path, fmt.Sprintf("%s%s is too short", what, quoted(s)), "write "+rule.Words())
	case rule.Pattern != "" && !k.pattern(rule.Pattern).MatchString(s):
		k.fault(path, what+quoted(s)+" is not allowed", "write "+rule.Words())
	}
}

// Words says what is allowed, as what to write.
func (r Rule) Words() string {
	list := func(items []string) string {
		if len(items) == 1 {
			return items[0]
		}
		return strings.Join(items[:len(items)-1], ", ") + " or " + items[len(items)-1]
	}
	zero := ""
	if r.Zero {
		zero = "0, or "
	}
	switch {
	case len(r.Enum) > 0:
		return list(r.Enum)
	case len(r.Values) > 0:
		var items []string
		for _, n := range r.Values {
			items = append(items, strconv.Itoa(n))
		}
		return list(items)
	case r.Form != "":
		return r.Form
	case r.Min > 0 && r.Max > 1000 && r.Zero:
		return fmt.Sprintf("0, or a number from %d", r.Min)
	case r.Max > 0:
		return fmt.Sprintf("%sa number from %d to %d", zero, r.Min, r.Max)
	}
	return "a value"
}

// pattern compiles each pattern once a run.
func (k *checker) pattern(p string) *regexp.Regexp {
	re, ok := k.patterns[p]
	if !ok {
		re = regexp.MustCompile(p)
		k.patterns[p] = re
	}
	return re
}
