package s3

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// maxPolicy is the largest bucket policy, in bytes.
const maxPolicy = 20480

func bucketPolicyType() *account.Type {
	return &account.Type{
		Name: TypeBucketPolicy, Latency: "s3:bucket-policy",
		Create: func(tx *account.Tx, r *account.Resource) error {
			name := props.Str(r.Props, "Bucket")
			b, err := Lookup(tx, name)
			if err != nil {
				return err
			}
			if tx.Get(TypeBucketPolicy, name) != nil {
				return errorf("AlreadyExists", "The bucket policy already exists on bucket %s.", name)
			}
			if err := checkPolicy(tx, b, r.Props["PolicyDocument"]); err != nil {
				return err
			}
			r.ID = name
			return nil
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			b, err := Lookup(tx, r.ID)
			if err != nil {
				return err
			}
			return checkPolicy(tx, b, next["PolicyDocument"])
		},
	}
}

// checkPolicy checks a policy's grammar, that what it names exists and belongs
// to the bucket, and that it isn't public where that is blocked.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-policy-language-overview.html
func checkPolicy(tx *account.Tx, b *account.Resource, doc any) error {
	if policy.Size(doc) > maxPolicy {
		return errorf("PolicyTooLarge", "Policies must be less than %d bytes", maxPolicy)
	}
	d, err := policy.Parse(doc, policy.Resource)
	if err != nil {
		return errorf("MalformedPolicy", "%v", err)
	}
	for _, s := range d.Statements {
		for kind, list := range s.Principals {
			for _, p := range list {
				if kind == "AWS" && !iam.PrincipalExists(tx, p) || kind == "Service" && !iam.ServiceExists(p) {
					return errorf("MalformedPolicy", "Invalid principal in policy")
				}
			}
		}
		for _, a := range slices.Concat(s.Actions, s.NotActions) {
			if a != "*" && !strings.HasPrefix(strings.ToLower(a), "s3:") {
				return errorf("MalformedPolicy", "Policy has invalid action")
			}
		}
		resources := slices.Concat(s.Resources, s.NotResources)
		for _, r := range resources {
			rest, ok := strings.CutPrefix(r, arn(tx, ""))
			name, _, _ := strings.Cut(rest, "/")
			if !ok || !policy.Like(name, b.ID) {
				return errorf("MalformedPolicy", "Policy has invalid resource")
			}
		}
		for _, a := range s.Actions {
			if !applies(a, resources) {
				return errorf("MalformedPolicy", "Action does not apply to any resource(s) in statement")
			}
		}
		if public(s) && blocked(b.Props, "BlockPublicPolicy") {
			return errorf("AccessDenied", "User: %s is not authorized to perform: s3:PutBucketPolicy on resource: \"%s\" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.", tx.Caller, arn(tx, b.ID))
		}
	}
	return nil
}

// applies tells whether an action is of the kind of some resource: actions on
// objects need a path, those on buckets none.
func applies(action string, resources []string) bool {
	_, name, _ := strings.Cut(action, ":")
	if strings.ContainsAny(name, "*?") || action == "*" {
		return true
	}
	object := false
	for _, p := range []string{"GetObject", "PutObject", "DeleteObject", "RestoreObject", "ReplicateObject", "ReplicateDelete", "AbortMultipartUpload", "ListMultipartUploadParts", "BypassGovernanceRetention"} {
		object = object || strings.HasPrefix(strings.ToLower(name), strings.ToLower(p))
	}
	return slices.ContainsFunc(resources, func(r string) bool {
		_, rest, path := strings.Cut(strings.TrimPrefix(r, "arn:"), "/")
		if !path && strings.HasSuffix(r, "*") {
			return true
		}
		return path == object && (!path || rest != "")
	})
}

// public tells whether a statement opens the bucket to everybody.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status
func public(s policy.Statement) bool {
	everybody := s.NotPrincipals != nil || s.Principals["*"] != nil || slices.Contains(s.Principals["AWS"], "*")
	if !s.Allow || !everybody {
		return false
	}
	return !slices.ContainsFunc(s.Conditions, func(c policy.Condition) bool {
		fixed := []string{"aws:sourcearn", "aws:sourceaccount", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner", "aws:principalorgid", "aws:principalarn", "aws:principalaccount", "aws:userid", "s3:dataaccesspointaccount", "s3:dataaccesspointarn", "aws:sourceip"}
		return slices.Contains(fixed, strings.ToLower(c.Key)) && !strings.Contains(c.Operator, "Not") && !slices.Contains(c.Values, "*") && !slices.Contains(c.Values, "0.0.0.0/0")
	})
}

// blocked is one of a bucket's settings against public access, which are all on
// unless said otherwise.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/create-bucket-faq.html
func blocked(p map[string]any, setting string) bool {
	if !props.Has(p, "PublicAccessBlockConfiguration") {
		return true
	}
	return props.Bool(p, false, "PublicAccessBlockConfiguration", setting)
}

// Policies are the policy of the bucket that an ARN names or is in.
func Policies(tx *account.Tx, resource string) []*policy.Document {
	rest, ok := strings.CutPrefix(resource, arn(tx, ""))
	name, _, _ := strings.Cut(rest, "/")
	p := tx.Get(TypeBucketPolicy, name)
	if !ok || p == nil {
		return nil
	}
	doc, err := policy.Parse(p.Props["PolicyDocument"], policy.Resource)
	if err != nil {
		return nil
	}
	return []*policy.Document{doc}
}
