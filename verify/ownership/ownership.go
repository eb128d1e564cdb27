// Package ownership has the checks of what belongs to the deployment besides: parameters,
// secrets, public addresses, and the tags of all.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: values of secrets are never read.
package ownership

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/policy"
)

// ownershipFacts are what the deployment says of itself: entries in Parameter
// Store, secrets, tags, public addresses.
type ownershipFacts struct {
	parametersFact account.Fact[map[string]ssmtypes.Parameter]
	secretsFact    account.Fact[[]smtypes.SecretListEntry]
	addressesFact  account.Fact[[]ec2types.Address]
	belongingsFact account.Fact[[]belonging]
}

// parameters are the entries below the deployment's path, by the rest of their
// name, without those that say who works on it. Encrypted ones are read as they
// are: no secret is ever decrypted.
func parameters(l *account.Look) (map[string]ssmtypes.Parameter, error) {
	return account.Facts[ownershipFacts](l).parametersFact.Get(func() (map[string]ssmtypes.Parameter, error) {
		path := l.Arch.ParameterPath()
		out := map[string]ssmtypes.Parameter{}
		pages := ssm.NewGetParametersByPathPaginator(l.AWS.SSM, &ssm.GetParametersByPathInput{
			Path: &path, Recursive: aws.Bool(true), WithDecryption: aws.Bool(false),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("read the parameters below %s: %w", path, err)
			}
			for _, p := range page.Parameters {
				if strings.HasPrefix(aws.ToString(p.Name), l.Arch.LeasePath()+"/") || aws.ToString(p.Name) == l.Arch.UpgradePath() {
					continue
				}
				out[strings.TrimPrefix(aws.ToString(p.Name), path+"/")] = p
			}
		}
		return out, nil
	})
}

// secrets are the secrets that carry the deployment's tag, those that wait for
// their deletion among them; their values are not read.
func secrets(l *account.Look) ([]smtypes.SecretListEntry, error) {
	return account.Facts[ownershipFacts](l).secretsFact.Get(func() ([]smtypes.SecretListEntry, error) {
		var out []smtypes.SecretListEntry
		pages := secretsmanager.NewListSecretsPaginator(l.AWS.SecretsManager, &secretsmanager.ListSecretsInput{
			IncludePlannedDeletion: aws.Bool(true),
			Filters:                []smtypes.Filter{{Key: smtypes.FilterNameStringTypeTagKey, Values: []string{architecture.DeploymentTag}}},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list secrets: %w", err)
			}
			for _, s := range page.SecretList {
				// Filters take what tags begin with.
				if slices.ContainsFunc(s.Tags, func(t smtypes.Tag) bool {
					return aws.ToString(t.Key) == architecture.DeploymentTag && aws.ToString(t.Value) == l.Arch.Name()
				}) {
					out = append(out, s)
				}
			}
		}
		return out, nil
	})
}

// place is the id of the VPC that the deployment stands in: the given one, or
// that of its load balancers or its cluster; "" if neither is there.
func place(l *account.Look) (string, error) {
	if l.Given() {
		return l.Arch.Config.Network.Existing.VPCID, nil
	}
	list, err := l.Balancers()
	if err != nil {
		return "", err
	}
	for _, b := range list {
		if id := aws.ToString(b.VpcId); id != "" {
			return id, nil
		}
	}
	c, err := l.Cluster()
	if err != nil || c == nil || c.ResourcesVpcConfig == nil {
		return "", err
	}
	return aws.ToString(c.ResourcesVpcConfig.VpcId), nil
}

// addresses are the public addresses that carry the deployment's tag.
func addresses(l *account.Look) ([]ec2types.Address, error) {
	return account.Facts[ownershipFacts](l).addressesFact.Get(func() ([]ec2types.Address, error) {
		got, err := l.AWS.EC2.DescribeAddresses(l.Ctx, &ec2.DescribeAddressesInput{Filters: []ec2types.Filter{
			{Name: aws.String("tag:" + architecture.DeploymentTag), Values: []string{l.Arch.Name()}},
		}})
		if err != nil {
			return nil, fmt.Errorf("list public addresses: %w", err)
		}
		return got.Addresses, nil
	})
}

// Checks are the checks of parameters, secrets, addresses and tags, in the order of reports.
func Checks() []check.Check {
	return slices.Concat([]check.Check{
		{
			ID: "parameters-there", Proves: "Parameter Store has all entries that programs look the deployment up by.",
			Level: check.Required, Rows: []string{"C15"}, Run: parametersThere,
		},
		{
			ID: "parameters-true", Proves: "The entries in Parameter Store name what is in the account.",
			Level: check.Required, Rows: []string{"C15"}, Run: parametersTrue,
		},
		{
			ID: "parameters-no-secrets", Proves: "No entry in Parameter Store is a secret, or looks like one.",
			Level: check.Required, Rows: []string{"C15", "B42"}, Run: parametersNoSecrets,
		},
		{
			ID: "secrets-there", Proves: "The application's database account has a secret of its own.",
			Level: check.Required, Rows: []string{"B42", "B43"}, Run: secretsThere,
		},
		{
			ID: "secrets-encrypted", Proves: "The deployment's secrets are encrypted with the secrets key.",
			Level: check.Required, Rows: []string{"S4", "B10"}, Run: secretsEncrypted,
		},
		{
			ID: "secrets-not-shared", Proves: "No resource policy lets anybody outside the account have the deployment's secrets.",
			Level: check.Required, Rows: []string{"S6", "B42"}, Run: secretsNotShared,
		},
		{
			ID: "sso-secrets", Proves: "The secrets of both single sign-on clients are there.",
			Level: check.Required, Rows: []string{"C6", "B42"}, Run: ssoSecrets,
		},
		{
			ID: "public-addresses", Proves: "Only internet-facing load balancers and NAT have public addresses.",
			Level: check.Required, Rows: []string{"S1", "S3", "B29"}, Run: publicAddresses,
		},
		{
			ID: "addresses-in-use", Proves: "No public address is paid for and unused.",
			Level: check.Advised, Rows: []string{"C9", "N2"}, Run: addressesInUse,
		},
	}, tagChecks())
}

// entries are the names that Parameter Store must have, each with the value
// that follows from the configuration or the account; "" where any is right.
func entries(l *account.Look) (map[string]string, error) {
	a, c := l.Arch, l.Arch.Config
	role := l.RoleARN
	out := map[string]string{
		"deployment/profile":  string(c.Profile),
		"versions/kubernetes": c.Cluster.Version,
		"versions/postgresql": c.Database.Version,
		"network/vpc-id":      "", "network/private-subnet-ids": "",
		"cluster/name": a.ClusterName(), "cluster/arn": "", "cluster/endpoint": "",
		"cluster/oidc-provider-arn": "", "cluster/security-group-id": "",
		"database/endpoint": "", "database/port": strconv.Itoa(architecture.PostgresPort), "database/name": "", "database/arn": "",
		"database/application-secret-arn": "", "database/master-secret-arn": "", "database/alarm-topic-arn": "",
		"registry/uri": "", "certificate/arn": c.Certificate.ARN,
		"endpoints/web": "https://" + c.Access.Web.Host, "endpoints/api": "https://" + c.Access.API.Host, "endpoints/admin": "https://" + c.Access.Admin.Host,
		"target-groups/web": "", "target-groups/api": "", "target-groups/admin": "",
		"load-balancers/web": "", "load-balancers/admin": "",
	}
	for name, version := range c.Cluster.AddonVersions {
		out["versions/"+name] = version
	}
	for _, b := range a.Buckets {
		out["buckets/"+string(b.Purpose)] = l.BucketName(b)
	}
	for _, s := range a.ServiceAccounts {
		out["roles/"+s.Role] = role(s.Role)
	}
	if c.DNS.Mode != config.DNSNone {
		out["dns/zone-id"] = c.DNS.ZoneID
	}
	if sso := c.Access.SSO; sso.Enabled {
		out["sso/issuer"], out["sso/admin-group"] = sso.Issuer, sso.AdminGroup
		out["sso/web-client-id"], out["sso/admin-client-id"] = sso.Web.ClientID, sso.Admin.ClientID
	}
	if c.Proxy.URL != "" {
		out["proxy/url"], out["proxy/no-proxy"] = c.Proxy.URL, strings.Join(a.NoProxy(), ",")
	}
	if bundle := c.Trust.Bundle(); bundle != "" {
		out["trust/ca-bundle"] = bundle
	}
	if c.Backups.Enabled {
		out["backup/vault"] = ""
	}
	for _, d := range a.Deviations {
		out["deviations/"+d.ID] = ""
	}
	keys, err := l.Keys()
	if err != nil {
		return nil, err
	}
	for _, k := range a.Keys {
		out["keys/"+string(k)] = ""
		if id := keys[k]; id != "" {
			out["keys/"+string(k)] = l.OwnARN("kms", "key/"+id)
		}
	}
	return out, liveEntries(l, out)
}

// liveEntries fills in the values that only the account knows.
func liveEntries(l *account.Look, out map[string]string) error {
	vpc, err := place(l)
	if err != nil {
		return err
	}
	out["network/vpc-id"] = vpc
	cluster, err := l.Cluster()
	if err != nil {
		return err
	}
	if cluster != nil {
		out["cluster/arn"], out["cluster/endpoint"] = aws.ToString(cluster.Arn), aws.ToString(cluster.Endpoint)
		if n := cluster.ResourcesVpcConfig; n != nil {
			out["cluster/security-group-id"] = aws.ToString(n.ClusterSecurityGroupId)
		}
	}
	db, err := l.Database()
	if err != nil {
		return err
	}
	if db != nil {
		out["database/arn"] = aws.ToString(db.DBInstanceArn)
		if db.Endpoint != nil {
			out["database/endpoint"] = aws.ToString(db.Endpoint.Address)
		}
		if db.MasterUserSecret != nil {
			out["database/master-secret-arn"] = aws.ToString(db.MasterUserSecret.SecretArn)
		}
	}
	if l.Arch.Config.DNS.Mode == config.DNSCreateZone {
		if out["dns/zone-id"], err = l.Zone(); err != nil {
			return err
		}
	}
	return l.EachBalancer(func(b account.Balancer) error {
		out["load-balancers/"+b.Part] = aws.ToString(b.DNSName)
		list, err := l.Listeners(b.ARN())
		if err != nil {
			return err
		}
		for _, x := range list {
			if x.Protocol != elbtypes.ProtocolEnumHttps {
				continue
			}
			if out["certificate/arn"] == "" && len(x.Certificates) > 0 {
				out["certificate/arn"] = aws.ToString(x.Certificates[0].CertificateArn)
			}
			for _, rule := range x.Rules {
				to := account.Forwards(rule.Actions)
				for _, h := range account.Hosts(rule) {
					if part := l.PartHosts(b.Part)[h]; part != "" && len(to) == 1 {
						out["target-groups/"+part] = to[0]
					}
				}
			}
		}
		return nil
	})
}

const apiParameters = "ssm:GetParametersByPath"

func parametersThere(l *account.Look, r *check.Recorder) error {
	have, err := parameters(l)
	if err != nil {
		return err
	}
	want, err := entries(l)
	if err != nil {
		return err
	}
	for _, name := range account.SortedKeys(want) {
		full := l.Arch.ParameterPath() + "/" + name
		if _, ok := have[name]; !ok {
			r.Missing(full, apiParameters, check.FixUpdate)
			continue
		}
		r.Saw(true, full, "there", apiParameters, "", "")
	}
	return nil
}

// brief is a value for people. Of a long one, such as a bundle of certificates,
// it is the length and the beginning of its SHA-256.
func brief(value string) string {
	if len(value) <= 200 {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return fmt.Sprintf("%d characters (SHA-256 %s…)", len(value), hex.EncodeToString(sum[:8]))
}

func parametersTrue(l *account.Look, r *check.Recorder) error {
	have, err := parameters(l)
	if err != nil {
		return err
	}
	want, err := entries(l)
	if err != nil {
		return err
	}
	for _, name := range account.SortedKeys(want) {
		p, ok := have[name]
		if !ok || want[name] == "" {
			continue
		}
		// What looks like a secret is not repeated here.
		saw := brief(aws.ToString(p.Value))
		if what := secretive(p); what != "" {
			saw = what
		}
		r.Saw(aws.ToString(p.Value) == want[name], aws.ToString(p.Name), saw, apiParameters, brief(want[name]),
			"Run poolhouse update if what it names was replaced; otherwise write the value back: aws ssm put-parameter --overwrite.")
	}
	return nil
}

// What secrets look like, and how people call it.
var secretForms = []struct {
	what string
	form *regexp.Regexp
}{
	{"a private key", regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----`)},
	{"an AWS access key", regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b`)},
	{"an address with a password", regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@]*:[^/\s@]+@`)},
	{"a password", regexp.MustCompile(`(?i)(password|passwd|pwd|secret|token|api[_-]?key|client_secret|private_key)["']?\s*[:=]\s*["']?[^\s"',}]{6,}`)},
	{"a JSON web token", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.`)},
	{"a token", regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{20,}|hvs\.[A-Za-z0-9_-]{20,})`)},
}

var arn = regexp.MustCompile(`^arn:[a-z-]+:[a-z0-9-]+:[^:\s]*:[^:\s]*:\S+$`)

// secretKey tells whether a text has the form of an AWS secret access key: 40
// characters of all kinds, unlike a digest.
func secretKey(s string) bool {
	var upper, lower, digit bool
	for _, c := range s {
		switch {
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= '0' && c <= '9':
			digit = true
		case c != '/' && c != '+':
			return false
		}
	}
	return len(s) == 40 && upper && lower && digit
}

// secretive says what kind of secret a parameter looks like; "" for none.
func secretive(p ssmtypes.Parameter) string {
	if p.Type == ssmtypes.ParameterTypeSecureString {
		return "an encrypted value (SecureString)"
	}
	value := aws.ToString(p.Value)
	if arn.MatchString(value) {
		return "" // of a secret, perhaps, and none itself
	}
	if secretKey(value) {
		return "what looks like an AWS secret key"
	}
	for _, s := range secretForms {
		if s.form.MatchString(value) {
			return "what looks like " + s.what
		}
	}
	return ""
}

func parametersNoSecrets(l *account.Look, r *check.Recorder) error {
	have, err := parameters(l)
	if err != nil {
		return err
	}
	for _, name := range account.SortedKeys(have) {
		saw := secretive(have[name])
		ok := saw == ""
		if ok {
			saw = "plain text"
		}
		r.Saw(ok, aws.ToString(have[name].Name), saw, apiParameters, "plain text without secrets",
			"Store it in Secrets Manager, delete the parameter, and change the secret: whoever may read parameters has seen it.")
	}
	return nil
}

const apiSecrets = "secretsmanager:ListSecrets"

// applicationSecrets are the deployment's own secrets, apart from those that a
// service such as RDS keeps for it.
func applicationSecrets(l *account.Look) ([]smtypes.SecretListEntry, error) {
	list, err := secrets(l)
	return slices.DeleteFunc(slices.Clone(list), func(s smtypes.SecretListEntry) bool { return aws.ToString(s.OwningService) != "" }), err
}

// alive are the secrets of a list that don't wait for their deletion: those of
// an earlier deployment of the same name may.
func alive(list []smtypes.SecretListEntry) []smtypes.SecretListEntry {
	return slices.DeleteFunc(slices.Clone(list), func(s smtypes.SecretListEntry) bool { return s.DeletedDate != nil })
}

func secretsThere(l *account.Look, r *check.Recorder) error {
	list, err := applicationSecrets(l)
	if err != nil {
		return err
	}
	for _, s := range alive(list) {
		r.Saw(true, aws.ToString(s.ARN), "there", apiSecrets, "", "")
	}
	if !r.Empty() {
		return nil
	}
	for _, s := range list {
		r.Saw(false, aws.ToString(s.ARN), "to be deleted", apiSecrets, "there", "Bring it back: aws secretsmanager restore-secret --secret-id "+aws.ToString(s.ARN)+".")
	}
	if len(list) == 0 {
		r.Missing("the application's secret of "+l.Arch.Name(), apiSecrets, "if it is there, give it back its tag "+architecture.DeploymentTag+"; if not, "+check.FixUpdate)
	}
	return nil
}

// sameKey tells whether a reference to a KMS key (id, ARN or alias) means one
// of the deployment's keys.
func sameKey(l *account.Look, ref string, p architecture.KeyPurpose) (bool, error) {
	keys, err := l.Keys()
	if err != nil || keys[p] == "" || ref == "" {
		return false, err
	}
	resource := account.ResourceOf(ref)
	return resource == "key/"+keys[p] || resource == keys[p] || resource == l.Arch.KeyAlias(p), nil
}

func secretsEncrypted(l *account.Look, r *check.Recorder) error {
	list, err := applicationSecrets(l)
	if err != nil {
		return err
	}
	list = alive(list)
	for _, s := range list {
		ok, err := sameKey(l, aws.ToString(s.KmsKeyId), architecture.KeySecrets)
		if err != nil {
			return err
		}
		saw := "encrypted with " + aws.ToString(s.KmsKeyId)
		if s.KmsKeyId == nil {
			saw = "encrypted with the AWS managed key"
		}
		r.Saw(ok, aws.ToString(s.ARN), saw, apiSecrets, "encrypted with "+l.Arch.KeyAlias(architecture.KeySecrets),
			check.FixUpdate)
	}
	if len(list) == 0 {
		r.NA("there is no secret: secrets-there says more")
	}
	return nil
}

// secretsNotShared reads resource policies; permissions inside the account are
// for its IAM policies to give.
func secretsNotShared(l *account.Look, r *check.Recorder) error {
	list, err := applicationSecrets(l)
	if err != nil {
		return err
	}
	const api = "secretsmanager:GetResourcePolicy"
	list = alive(list)
	for _, s := range list {
		got, err := l.AWS.SecretsManager.GetResourcePolicy(l.Ctx, &secretsmanager.GetResourcePolicyInput{SecretId: s.ARN})
		if awsapi.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the policy of secret %s: %w", aws.ToString(s.ARN), err)
		}
		saw, ok := "no resource policy", true
		if text := aws.ToString(got.ResourcePolicy); text != "" {
			p, err := policy.Read(text)
			if err != nil {
				return fmt.Errorf("read the policy of secret %s: %w", aws.ToString(s.ARN), err)
			}
			strangers := p.Strangers(l.ID.Account)
			saw, ok = "a resource policy for this account only", len(strangers) == 0
			if !ok {
				saw = "a resource policy that lets in " + strings.Join(strangers, ", ")
			}
		}
		r.Saw(ok, aws.ToString(s.ARN), saw, api, "nobody outside the account", "Take the policy away: aws secretsmanager delete-resource-policy. Then change the secret: somebody may have read it.")
	}
	if len(list) == 0 {
		r.NA("there is no secret: secrets-there says more")
	}
	return nil
}

func ssoSecrets(l *account.Look, r *check.Recorder) error {
	sso := l.Arch.Config.Access.SSO
	if !sso.Enabled {
		r.NA("access.sso.enabled is false")
		return nil
	}
	const api = "secretsmanager:DescribeSecret"
	for _, part := range []string{account.WebPart, account.AdminPart} {
		arn := l.SSOClient(part).SecretARN
		got, err := l.AWS.SecretsManager.DescribeSecret(l.Ctx, &secretsmanager.DescribeSecretInput{SecretId: &arn})
		fix := "Store the client's secret again, under the key client_secret, and name it in access.sso." + part + ".secretArn: the next change of the listener needs it."
		switch {
		case awsapi.IsNotFound(err):
			r.Missing(arn, api, fix)
		case err != nil:
			return fmt.Errorf("look up secret %s: %w", arn, err)
		default:
			saw := "there"
			if got.DeletedDate != nil {
				saw = "to be deleted"
			}
			r.Saw(got.DeletedDate == nil, arn, saw, api, "there", "Bring it back: aws secretsmanager restore-secret --secret-id "+arn+".")
		}
	}
	return nil
}

// publicAddresses judges all interfaces of a VPC that is the deployment's own,
// and in another one those of its own instances and load balancers.
func publicAddresses(l *account.Look, r *check.Recorder) error {
	const api = "ec2:DescribeNetworkInterfaces"
	faces, err := l.NetworkInterfaces()
	if err != nil {
		return err
	}
	nodes, err := l.Instances()
	if err != nil {
		return err
	}
	balancers, err := l.Balancers()
	if err != nil {
		return err
	}
	own := !l.Given()
	for _, f := range faces {
		if f.Association == nil || aws.ToString(f.Association.PublicIp) == "" {
			continue
		}
		id, ip := aws.ToString(f.NetworkInterfaceId), aws.ToString(f.Association.PublicIp)
		what, ok, ours := publicUse(l, f, balancers, nodes)
		if !ours && !own {
			continue
		}
		r.Saw(ok, id, ip+" of "+what, api, "no public address", "Take the address away, or what has it: private subnets reach out by NAT, and people come in by the load balancers.")
	}
	if r.Empty() {
		n := 0
		for _, f := range faces {
			if f.Association == nil {
				n++
			}
		}
		if n > 0 {
			vpc, err := place(l)
			if err != nil {
				return err
			}
			r.Saw(true, vpc, fmt.Sprintf("none of %d interfaces has a public address", n), api, "", "")
		}
	}
	return nil
}

// publicUse says what a public address is used for, whether that is right, and
// whether it is certainly the deployment's.
func publicUse(l *account.Look, f ec2types.NetworkInterface, balancers []account.Balancer, nodes []account.Instance) (what string, ok, ours bool) {
	// EC2 answers nat_gateway, although its model says natGateway.
	if f.InterfaceType == ec2types.NetworkInterfaceTypeNatGateway || f.InterfaceType == "nat_gateway" {
		return "a NAT gateway", true, false
	}
	if name, found := strings.CutPrefix(aws.ToString(f.Description), "ELB "); found {
		for _, b := range balancers {
			if strings.HasSuffix(b.ARN(), "loadbalancer/"+name) {
				public := b.Scheme == elbtypes.LoadBalancerSchemeEnumInternetFacing && b.Part != ""
				return "load balancer " + name, public, true
			}
		}
		return "load balancer " + name, false, false
	}
	if f.Attachment == nil || aws.ToString(f.Attachment.InstanceId) == "" {
		return "an interface without an instance", false, false
	}
	id := aws.ToString(f.Attachment.InstanceId)
	for _, n := range nodes {
		if n.ID != id {
			continue
		}
		if n.NAT {
			return "NAT instance " + id, true, true
		}
		return "node " + id, false, true
	}
	return "instance " + id, false, false
}

func addressesInUse(l *account.Look, r *check.Recorder) error {
	list, err := addresses(l)
	if err != nil {
		return err
	}
	for _, a := range list {
		saw, ok := "in use", a.AssociationId != nil
		switch {
		case !ok && l.Arch.Config.Network.NAT.Announce != "":
			saw, ok = "announced by network.nat.announce, and not in use yet", true
		case !ok:
			saw = "not in use"
		}
		r.Saw(ok, aws.ToString(a.AllocationId), aws.ToString(a.PublicIp)+" is "+saw, "ec2:DescribeAddresses", "in use",
			"if NAT is missing, "+check.FixUpdate+"; otherwise aws ec2 release-address --allocation-id "+aws.ToString(a.AllocationId))
	}
	if len(list) == 0 {
		r.NA("the deployment has no public addresses of its own")
	}
	return nil
}
