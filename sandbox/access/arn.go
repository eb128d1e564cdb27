package access

import (
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// kind says what IAM calls an account's resource type, and where its ARN is.
type kind struct {
	// iam is the resource type among the facts.
	iam string
	// attr is the attribute that holds the ARN; empty if it is made of the id.
	attr string
	// id is the attribute that identifies the resource in its ARN; empty for
	// the physical id.
	id string
}

// kinds are the account's resource types that have an ARN of their own.
var kinds = map[string]kind{
	"AWS::AutoScaling::AutoScalingGroup":        {iam: "autoscaling:autoScalingGroup", attr: "AutoScalingGroupARN"},
	"AWS::Backup::BackupPlan":                   {iam: "backup:backupPlan", attr: "BackupPlanArn"},
	"AWS::Backup::BackupVault":                  {iam: "backup:backupVault", attr: "BackupVaultArn"},
	"AWS::CertificateManager::Certificate":      {iam: "acm:certificate", attr: "CertificateArn"},
	"AWS::CloudWatch::Alarm":                    {iam: "cloudwatch:alarm"},
	"AWS::EC2::EIP":                             {iam: "ec2:elastic-ip", id: "AllocationId"},
	"AWS::EC2::FlowLog":                         {iam: "ec2:vpc-flow-log"},
	"AWS::EC2::InternetGateway":                 {iam: "ec2:internet-gateway"},
	"AWS::EC2::LaunchTemplate":                  {iam: "ec2:launch-template"},
	"AWS::EC2::NatGateway":                      {iam: "ec2:natgateway"},
	"AWS::EC2::NetworkAcl":                      {iam: "ec2:network-acl"},
	"AWS::EC2::NetworkInterface":                {iam: "ec2:network-interface"},
	"AWS::EC2::PrefixList":                      {iam: "ec2:prefix-list"},
	"AWS::EC2::RouteTable":                      {iam: "ec2:route-table"},
	"AWS::EC2::SecurityGroup":                   {iam: "ec2:security-group"},
	"AWS::EC2::Subnet":                          {iam: "ec2:subnet"},
	"AWS::EC2::TransitGatewayAttachment":        {iam: "ec2:transit-gateway-attachment"},
	"AWS::EC2::VPC":                             {iam: "ec2:vpc"},
	"AWS::EC2::VPCEndpoint":                     {iam: "ec2:vpc-endpoint"},
	"AWS::ECR::Repository":                      {iam: "ecr:repository", attr: "Arn"},
	"AWS::EKS::AccessEntry":                     {iam: "eks:access-entry", attr: "AccessEntryArn"},
	"AWS::EKS::Addon":                           {iam: "eks:addon", attr: "Arn"},
	"AWS::EKS::Cluster":                         {iam: "eks:cluster", attr: "Arn"},
	"AWS::EKS::IdentityProviderConfig":          {iam: "eks:identityproviderconfig", attr: "Arn"},
	"AWS::EKS::Nodegroup":                       {iam: "eks:nodegroup", attr: "Arn"},
	"AWS::ElasticLoadBalancing::LoadBalancer":   {iam: "elasticloadbalancing:loadbalancer"},
	"AWS::ElasticLoadBalancingV2::Listener":     {iam: "elasticloadbalancing:listener/app", attr: "ListenerArn"},
	"AWS::ElasticLoadBalancingV2::ListenerRule": {iam: "elasticloadbalancing:listener-rule/app", attr: "RuleArn"},
	"AWS::ElasticLoadBalancingV2::LoadBalancer": {iam: "elasticloadbalancing:loadbalancer/app/", attr: "LoadBalancerArn"},
	"AWS::ElasticLoadBalancingV2::TargetGroup":  {iam: "elasticloadbalancing:targetgroup", attr: "TargetGroupArn"},
	"AWS::IAM::InstanceProfile":                 {iam: "iam:instance-profile", attr: "Arn"},
	"AWS::IAM::ManagedPolicy":                   {iam: "iam:policy", attr: "PolicyArn"},
	"AWS::IAM::OIDCProvider":                    {iam: "iam:oidc-provider", attr: "Arn"},
	"AWS::IAM::Role":                            {iam: "iam:role", attr: "Arn"},
	"AWS::IAM::User":                            {iam: "iam:user", attr: "Arn"},
	"AWS::KMS::Alias":                           {iam: "kms:alias"},
	"AWS::KMS::Key":                             {iam: "kms:key", attr: "Arn"},
	"AWS::Logs::LogGroup":                       {iam: "logs:log-group"},
	"AWS::RDS::DBInstance":                      {iam: "rds:db"},
	"AWS::RDS::DBParameterGroup":                {iam: "rds:pg"},
	"AWS::RDS::DBSubnetGroup":                   {iam: "rds:subgrp"},
	"AWS::Route53::HostedZone":                  {iam: "route53:hostedzone"},
	"AWS::S3::Bucket":                           {iam: "s3:bucket"},
	"AWS::SNS::Topic":                           {iam: "sns:topic", attr: "TopicArn"},
	"AWS::SSM::Parameter":                       {iam: "ssm:parameter", attr: "Arn"},
	"AWS::SecretsManager::Secret":               {iam: "secretsmanager:Secret", attr: "Id"},
	"AWS::WAFv2::IPSet":                         {iam: "wafv2:ipset", attr: "Arn"},
	"AWS::WAFv2::WebACL":                        {iam: "wafv2:webacl", attr: "Arn"},
	"backup:recovery-point":                     {iam: "backup:recoveryPoint"},
	"ec2:capacity-reservation":                  {iam: "ec2:capacity-reservation"},
	"ec2:instance":                              {iam: "ec2:instance"},
	"ec2:volume":                                {iam: "ec2:volume"},
	"ec2:snapshot":                              {iam: "ec2:snapshot"},
	"rds:automated-backup":                      {iam: "rds:auto-backup", attr: "DBInstanceAutomatedBackupsArn"},
	"rds:snapshot":                              {iam: "rds:snapshot", attr: "DBSnapshotArn"},
	"cloudformation:stack":                      {iam: "cloudformation:stack"},
	"AWS::EC2::TransitGateway":                  {iam: "ec2:transit-gateway"},
}

// typeOf are the account's types by those of the facts.
var typeOf = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for typ, k := range kinds {
		out[k.iam] = typ
	}
	return out
})

// ARN is the ARN of a resource in the account, or "" if its type has none.
func ARN(tx *account.Tx, r *account.Resource) string {
	k, ok := kinds[r.Type]
	if !ok {
		return ""
	}
	id := r.ID
	if k.id != "" && props.Str(r.Attrs[k.id]) != "" {
		id = props.Str(r.Attrs[k.id])
	}
	if k.attr != "" {
		if a := props.Str(r.Attrs[k.attr]); strings.HasPrefix(a, "arn:") {
			return a
		}
	}
	if strings.HasPrefix(id, "arn:") {
		return id
	}
	return arnOf(tx, k.iam, id)
}

// arnOf is the ARN of the resource of that name or id, of a type among the
// facts. What the name doesn't say, such as a generated suffix, is an asterisk.
func arnOf(tx *account.Tx, iam, name string) string {
	global := func(service, resource string) string {
		return "arn:" + tx.Partition() + ":" + service + ":::" + resource
	}
	switch iam {
	case "autoscaling:autoScalingGroup":
		return tx.ARN("autoscaling", "autoScalingGroup:*:autoScalingGroupName/"+name)
	case "ec2:image":
		return "arn:" + tx.Partition() + ":ec2:" + tx.Region() + "::image/" + name
	case "elasticloadbalancing:loadbalancer/app/", "elasticloadbalancing:targetgroup":
		if name == "*" {
			break
		}
		_, head, _ := strings.Cut(iam, ":")
		return tx.ARN("elasticloadbalancing", strings.TrimSuffix(head, "/")+"/"+name+"/*")
	case "kms:alias":
		return tx.ARN("kms", name)
	case "logs:log-group":
		// All operations but those on tags name the log streams too.
		// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html
		return tx.ARN("logs", "log-group:"+name+":log-stream:")
	case "route53:hostedzone":
		return global("route53", "hostedzone/"+name[strings.LastIndexByte(name, '/')+1:])
	case "s3:bucket", "s3:object":
		return global("s3", name)
	case "secretsmanager:Secret":
		if name == "*" {
			break
		}
		// The characters that Secrets Manager adds to a name.
		// https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_examples.html
		return tx.ARN("secretsmanager", "secret:"+name+"-??????")
	case "ssm:parameter":
		return tx.ARN("ssm", "parameter/"+strings.TrimPrefix(name, "/"))
	case "cloudformation:stack":
		return tx.ARN("cloudformation", "stack/"+name+"/*")
	}
	r := facts().Resources[iam]
	if r == nil {
		return "*"
	}
	return fill(tx, r.ARN, name)
}

// fill puts the account into an ARN's form and the name into the last of the
// other variables; those before it are asterisks.
func fill(tx *account.Tx, form, name string) string {
	last := strings.LastIndex(form, "${")
	var b strings.Builder
	for {
		head, rest, ok := strings.Cut(form, "${")
		b.WriteString(head)
		if !ok {
			return b.String()
		}
		variable, tail, _ := strings.Cut(rest, "}")
		switch variable {
		case "Partition":
			b.WriteString(tx.Partition())
		case "Region":
			b.WriteString(tx.Region())
		case "Account":
			b.WriteString(tx.AccountID())
		default:
			if last == len(head) || !strings.Contains(tail, "${") {
				b.WriteString(name)
			} else {
				b.WriteByte('*')
			}
		}
		last -= len(head) + len("${") + len(variable) + len("}")
		form = tail
	}
}

// target is a resource that a call works on; res is nil if it isn't there.
type target struct {
	arn string
	res *account.Resource
}

// find is the resource of a type that a parameter names: by id, ARN or name.
func find(tx *account.Tx, typ, ref string) target {
	if ref == "" {
		return target{}
	}
	if r := tx.Get(typ, ref); r != nil {
		return target{ARN(tx, r), r}
	}
	k := kinds[typ]
	switch {
	case typ == "AWS::SecretsManager::Secret":
		if l := tx.Where(typ, "access:name", secretName, ref); len(l) > 0 {
			return target{ARN(tx, l[0]), l[0]}
		}
	case typ == "cloudformation:stack":
		if l := tx.Where(typ, "access:name", stackName, ref); len(l) > 0 {
			// The latest of that name: the others are deleted.
			r := l[0]
			for _, x := range l {
				if x.Created.After(r.Created) {
					r = x
				}
			}
			return target{ARN(tx, r), r}
		}
	case k.attr != "" && strings.HasPrefix(ref, "arn:"):
		if r := tx.Get(typ, ref[strings.LastIndexAny(ref, "/:")+1:]); r != nil {
			return target{ref, r}
		}
	case k.id != "":
		attr := k.id
		if l := tx.Where(typ, "access:"+attr, func(r *account.Resource) string { return props.Str(r.Attrs[attr]) }, ref); len(l) > 0 {
			return target{ARN(tx, l[0]), l[0]}
		}
	case typ == "AWS::Route53::HostedZone":
		if r := tx.Get(typ, ref[strings.LastIndexByte(ref, '/')+1:]); r != nil {
			return target{ARN(tx, r), r}
		}
	}
	if strings.HasPrefix(ref, "arn:") {
		return target{arn: ref}
	}
	return target{arn: arnOf(tx, k.iam, ref)}
}

// secretName is the name in a secret's ARN, without its random ending.
func secretName(r *account.Resource) string {
	name := r.ID[strings.LastIndexByte(r.ID, ':')+1:]
	if i := strings.LastIndexByte(name, '-'); i > 0 {
		return name[:i]
	}
	return name
}

// stackName is the name in a stack's ARN.
func stackName(r *account.Resource) string {
	_, rest, _ := strings.Cut(r.ID, ":stack/")
	name, _, _ := strings.Cut(rest, "/")
	return name
}
