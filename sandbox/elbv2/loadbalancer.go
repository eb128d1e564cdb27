package elbv2

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
	"github.com/poolhouse/poolhouse/sandbox/s3"
)

func loadBalancerType() *account.Type {
	return &account.Type{
		Name: TypeLoadBalancer, Latency: "elbv2:lb",
		Create: createLoadBalancer,
		Update: updateLoadBalancer,
		Settle: func(_ *account.Tx, r *account.Resource, _ string) error {
			r.Status = "active"
			return nil
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if loadBalancerAttributes(r.Props)["deletion_protection.enabled"] == "true" {
				return account.Errorf("OperationNotPermitted", "Load balancer '%s' cannot be deleted because deletion protection is enabled", r.ID)
			}
			r.Status = "deleting"
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			// Its interfaces go some time later.
			ec2.ReleaseInterfaces(tx, r.ID, tx.Latency("elbv2:lb/interfaces", r.ID))
			for _, l := range listeners(tx, r.ID) {
				tx.Drop(TypeListener, l.ID)
				dropRules(tx, l.ID)
			}
			// A web ACL's association goes with the load balancer.
			for _, a := range tx.List("AWS::WAFv2::WebACLAssociation") {
				if props.Str(a.Props, "ResourceArn") == r.ID {
					tx.Drop(a.Type, a.ID)
				}
			}
			connect(tx)
		},
	}
}

// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html
const (
	leastAddresses = 8
	longestMask    = 27
)

// known are the attributes of application load balancers.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html
var known = map[string]attribute{
	"access_logs.s3.bucket":                                    {},
	"access_logs.s3.enabled":                                   {words: boolean, value: "false"},
	"access_logs.s3.prefix":                                    {},
	"client_keep_alive.seconds":                                {numbers: [2]int{60, 604800}, value: "3600"},
	"connection_logs.s3.bucket":                                {},
	"connection_logs.s3.enabled":                               {words: boolean, value: "false"},
	"connection_logs.s3.prefix":                                {},
	"deletion_protection.enabled":                              {words: boolean, value: "false"},
	"health_check_logs.s3.bucket":                              {},
	"health_check_logs.s3.enabled":                             {words: boolean, value: "false"},
	"health_check_logs.s3.prefix":                              {},
	"idle_timeout.timeout_seconds":                             {numbers: [2]int{1, 4000}, value: "60"},
	"ipv6.deny_all_igw_traffic":                                {words: boolean, value: "false"},
	"load_balancing.cross_zone.enabled":                        {words: []string{"true"}, value: "true"},
	"routing.http.desync_mitigation_mode":                      {words: []string{"monitor", "defensive", "strictest"}, value: "defensive"},
	"routing.http.drop_invalid_header_fields.enabled":          {words: boolean, value: "false"},
	"routing.http.preserve_host_header.enabled":                {words: boolean, value: "false"},
	"routing.http.x_amzn_tls_version_and_cipher_suite.enabled": {words: boolean, value: "false"},
	"routing.http.xff_client_port.enabled":                     {words: boolean, value: "false"},
	"routing.http.xff_header_processing.mode":                  {words: []string{"append", "preserve", "remove"}, value: "append"},
	"routing.http2.enabled":                                    {words: boolean, value: "true"},
	"waf.fail_open.enabled":                                    {words: boolean, value: "false"},
	"zonal_shift.config.enabled":                               {words: boolean, value: "false"},
}

func loadBalancerAttributes(p map[string]any) map[string]string {
	return attributes(known, props.Maps(p, "LoadBalancerAttributes"))
}

func createLoadBalancer(tx *account.Tx, r *account.Resource) error {
	p := r.Props
	name := props.Str(p, "Name")
	if name == "" {
		name = tx.Name(r, 32)
	}
	if err := checkName("load balancer", name); err != nil {
		return err
	}
	if strings.HasPrefix(name, "internal-") {
		return invalid("The load balancer name '%s' cannot begin with 'internal-'", name)
	}
	if tx.Find(TypeLoadBalancer, func(o *account.Resource) bool { return props.Str(o.Attrs, "LoadBalancerName") == name }) != nil {
		return account.Errorf("DuplicateLoadBalancerName", "A load balancer with the same name '%s' exists, but with different settings", name)
	}
	if err := quota.LoadBalancers.Check(tx, tx.Count(TypeLoadBalancer)); err != nil {
		return err
	}
	if t := props.Str(p, "Type"); t != "" && t != "application" {
		return account.NotModelled("Load balancer type '%s' is not modelled by the sandbox", t)
	}
	if t := props.Str(p, "IpAddressType"); t != "" && t != "ipv4" {
		return account.NotModelled("IP address type '%s' is not modelled by the sandbox", t)
	}
	id := hexID(tx)
	full := "app/" + name + "/" + id
	arn := tx.ARN("elasticloadbalancing", "loadbalancer/"+full)
	vpc, err := checkLoadBalancer(tx, arn, p)
	if err != nil {
		return err
	}
	iam.EnsureServiceLinkedRole(tx, service)
	dns := DNSName(tx, name, id, internal(p))
	r.ID, r.Status, r.Tags = arn, "provisioning", props.Tags(p, "Tags")
	r.Data = map[string]any{"vpc": vpc}
	r.Attrs = map[string]any{
		"LoadBalancerArn": arn, "LoadBalancerName": name, "LoadBalancerFullName": full, "DNSName": dns,
		"CanonicalHostedZoneID": HostedZone(tx.Region()), "SecurityGroups": []any{},
	}
	return place(tx, r, p)
}

func internal(p map[string]any) bool { return props.Str(p, "Scheme") == "internal" }

// subnetsOf are the subnets of a load balancer, however they are given.
func subnetsOf(p map[string]any) []string {
	ids := props.Strs(p, "Subnets")
	for _, m := range props.Maps(p, "SubnetMappings") {
		ids = append(ids, props.Str(m, "SubnetId"))
	}
	return ids
}

// checkLoadBalancer checks what a load balancer may change later, and returns
// its VPC.
func checkLoadBalancer(tx *account.Tx, arn string, p map[string]any) (string, error) {
	var vpc string
	zones := map[string]bool{}
	held := map[string]bool{}
	for _, face := range ec2.InterfacesOf(tx, arn) {
		held[props.Str(face.Props, "SubnetId")] = true
	}
	for _, id := range subnetsOf(p) {
		s, err := ec2.FindSubnet(tx, id)
		if err != nil {
			return "", account.Errorf("SubnetNotFound", "The subnet ID '%s' does not exist", id)
		}
		if vpc != "" && ec2.VPCOf(s) != vpc {
			return "", configuration("All subnets of a load balancer must belong to the same VPC")
		}
		vpc = ec2.VPCOf(s)
		zone := ec2.ZoneOf(s).Name
		if zones[zone] {
			return "", configuration("A load balancer cannot be attached to multiple subnets in the same Availability Zone")
		}
		zones[zone] = true
		if !internal(p) {
			if ec2.AttachedGateway(tx, vpc) == "" {
				return "", account.Errorf("InvalidSubnet", "VPC %s has no internet gateway", vpc)
			}
			if ec2.ReachesInternet(tx, s) != "igw" {
				return "", account.Errorf("InvalidSubnet", "Subnet %s of an internet-facing load balancer has no route to an internet gateway", id)
			}
		}
		if !held[id] && ec2.AvailableAddresses(tx, s) < leastAddresses {
			return "", account.Errorf("InvalidSubnet", "Not enough IP space available in %s. ELB requires at least %d free IP addresses in each subnet.", id, leastAddresses)
		}
		if c, err := netip.ParsePrefix(props.Str(s.Attrs, "CidrBlock")); err == nil && c.Bits() > longestMask {
			return "", account.Errorf("InvalidSubnet", "The CIDR block %s of subnet %s is too small. ELB requires a CIDR block with at least a /%d bitmask in each subnet.", c, id, longestMask)
		}
	}
	if len(zones) < 2 {
		return "", invalid("At least two subnets in two different Availability Zones must be specified")
	}
	for _, g := range props.Strs(p, "SecurityGroups") {
		sg, err := ec2.FindSecurityGroup(tx, g)
		if err != nil {
			return "", account.Errorf("InvalidSecurityGroup", "Security group '%s' not found", g)
		}
		if ec2.VPCOf(sg) != vpc {
			return "", configuration("Security group '%s' does not belong to VPC '%s'", g, vpc)
		}
	}
	list := props.Maps(p, "LoadBalancerAttributes")
	if err := checkAttributes("Load balancer", known, list); err != nil {
		return "", err
	}
	values := attributes(known, list)
	for _, logs := range []string{"access_logs", "connection_logs", "health_check_logs"} {
		if values[logs+".s3.enabled"] == "true" {
			if err := checkLogs(tx, arn, values[logs+".s3.bucket"], values[logs+".s3.prefix"]); err != nil {
				return "", err
			}
		}
	}
	return vpc, nil
}

// checkLogs wants a bucket that log delivery can write to: there, not encrypted
// with KMS, and with a policy that lets the service in.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
func checkLogs(tx *account.Tx, arn, bucket, prefix string) error {
	if bucket == "" {
		return invalid("The value of 'access_logs.s3.bucket' cannot be empty")
	}
	if strings.Contains(prefix, "AWSLogs") || strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/") {
		return configuration("The S3 prefix '%s' is not valid: it must not contain AWSLogs nor begin or end with '/'", prefix)
	}
	b := tx.Get("AWS::S3::Bucket", bucket)
	if b == nil {
		return configuration("S3Bucket: %s does not exist", bucket)
	}
	for _, rule := range props.Maps(b.Props, "BucketEncryption", "ServerSideEncryptionConfiguration") {
		if a := props.Str(rule, "ServerSideEncryptionByDefault", "SSEAlgorithm"); strings.HasPrefix(a, "aws:kms") {
			return denied(bucket)
		}
	}
	path := bucket + "/"
	if prefix != "" {
		path += prefix + "/"
	}
	object := "arn:" + tx.Partition() + ":s3:::" + path + "AWSLogs/" + tx.AccountID() + "/ELBAccessLogTestFile"
	for _, bp := range tx.List("AWS::S3::BucketPolicy") {
		if props.Str(bp.Props, "Bucket") != bucket {
			continue
		}
		doc, err := policy.Parse(props.Get(bp.Props, "PolicyDocument"), policy.Resource)
		if err != nil {
			continue
		}
		// The delivery uses TLS, for this load balancer of this account.
		context := policy.Single{"aws:SecureTransport": "true", "aws:SourceAccount": tx.AccountID(), "aws:SourceArn": arn}
		requests := []policy.Request{{Type: "Service", Principal: "logdelivery.elasticloadbalancing.amazonaws.com"}, {Type: "AWS", Principal: "arn:" + tx.Partition() + ":iam::" + accounts[tx.Region()] + ":root"}}
		if slices.ContainsFunc(requests, func(r policy.Request) bool {
			r.Action, r.Resource, r.Context = "s3:PutObject", object, context
			return doc.Allows(r)
		}) {
			return nil
		}
	}
	return denied(bucket)
}

// DeliverLog writes a log of a load balancer into its bucket, if that lets it.
func DeliverLog(tx *account.Tx, arn, bucket, key, body string) error {
	prefix, _, ok := strings.Cut(key, "/AWSLogs/")
	if !ok {
		prefix = ""
	}
	if err := checkLogs(tx, arn, bucket, prefix); err != nil {
		return err
	}
	return s3.Deliver(tx, bucket, key, body)
}

func denied(bucket string) error {
	return configuration("Access Denied for bucket: %s. Please check S3bucket permission", bucket)
}

// place gives a load balancer one interface in each of its subnets.
func place(tx *account.Tx, r *account.Resource, p map[string]any) error {
	ec2.RemoveInterfaces(tx, r.ID)
	for _, id := range subnetsOf(p) {
		_, err := ec2.AddInterface(tx, ec2.Interface{
			Subnet: id, Groups: props.Strs(p, "SecurityGroups"), Description: "ELB " + props.Str(r.Attrs, "LoadBalancerFullName"),
			Owner: r.ID, Requester: "amazon-elb", Public: !internal(p),
		})
		if err != nil {
			ec2.RemoveInterfaces(tx, r.ID)
			return account.Errorf("InvalidSubnet", "The load balancer can't be placed in %s: %s", id, err)
		}
	}
	groups := []any{}
	for _, face := range ec2.InterfacesOf(tx, r.ID)[:1] {
		for _, g := range ec2.InterfaceGroups(face) {
			groups = append(groups, g)
		}
	}
	r.Attrs["SecurityGroups"] = groups
	return nil
}

func updateLoadBalancer(tx *account.Tx, r *account.Resource, next map[string]any) error {
	vpc, err := checkLoadBalancer(tx, r.ID, next)
	if err != nil {
		return err
	}
	if vpc != props.Str(r.Data, "vpc") {
		return configuration("The subnets of a load balancer cannot move to another VPC")
	}
	r.Retag(next, "Tags")
	if props.SameSet(subnetsOf(r.Props), subnetsOf(next)) && props.SameSet(props.Strs(r.Props, "SecurityGroups"), props.Strs(next, "SecurityGroups")) {
		return nil
	}
	return place(tx, r, next)
}

// accounts are those that ELB delivers logs from, in the older regions.
var accounts = map[string]string{
	"us-east-1": "127311923021", "us-east-2": "033677994240", "us-west-1": "027434742980", "us-west-2": "797873946194", "ca-central-1": "985666609251",
	"eu-west-1": "156460612806", "eu-west-2": "652711504416", "eu-west-3": "009996457667", "eu-central-1": "054676820928", "eu-north-1": "897822967062",
	"ap-northeast-1": "582318560864", "ap-northeast-2": "600734575887", "ap-southeast-1": "114774131450", "ap-southeast-2": "783225319266", "ap-south-1": "718504428378",
	"sa-east-1": "507241528517", "us-gov-west-1": "048591011584", "us-gov-east-1": "190560391635",
}

// zones are the hosted zones of application load balancers.
// https://docs.aws.amazon.com/general/latest/gr/elb.html
var zones = map[string]string{
	"us-east-1": "Z35SXDOTRQ7X7K", "us-east-2": "Z3AADJGX6KTTL2", "us-west-1": "Z368ELLRRE2KJ0", "us-west-2": "Z1H1FL5HABSF5", "ca-central-1": "ZQSVJUPU6J1EY",
	"eu-west-1": "Z32O12XQLNTSW2", "eu-west-2": "ZHURV8PSTC4K8", "eu-west-3": "Z3Q77PNBQS71R4", "eu-central-1": "Z215JYRZR1TBD5", "eu-north-1": "Z23TAZ6LKFMNIO",
	"ap-northeast-1": "Z14GRHDCWA56QT", "ap-northeast-2": "ZWKZPGTI48KDX", "ap-southeast-1": "Z1LMS91P8CMLE5", "ap-southeast-2": "Z1GM3OXH4ZPM65", "ap-south-1": "ZP97RAFLXTNZK",
	"sa-east-1": "Z2P70J7HTTTPLU", "us-gov-west-1": "Z33AYJ8TM3BH4J", "us-gov-east-1": "Z166TLBEWOO7G0",
}

// HostedZone is the zone of a region's application and classic load balancers;
// for regions that aren't in the table, one in the same form.
func HostedZone(region string) string {
	if z, ok := zones[region]; ok {
		return z
	}
	return fmt.Sprintf("Z%s", strings.ToUpper(strings.ReplaceAll(region, "-", "")))
}
