package access

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/kms/ciphertext"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// identities: what limits a role by its permissions boundary is tested by the
// boundary that the request sets, or else the one that the role has.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
func identities() map[string]rule {
	user := one("AWS::IAM::User", "UserName")
	role, profile := one("AWS::IAM::Role", "RoleName"), one("AWS::IAM::InstanceProfile", "InstanceProfileName")
	policy, provider := byARN("PolicyArn", "AWS::IAM::ManagedPolicy"), byARN("OpenIDConnectProviderArn", "AWS::IAM::OIDCProvider")
	// made is a new resource with the path of the request.
	made := func(kind, parameter string) func(*call) []target {
		return func(c *call) []target {
			path := c.r.String("Path")
			if path == "" {
				path = "/"
			}
			return []target{{arn: c.tx.GlobalARN("iam", kind+path+c.r.String(parameter))}}
		}
	}
	newUser := made("user", "UserName")
	newRole, newProfile, newPolicy := made("role", "RoleName"), made("instance-profile", "InstanceProfileName"), made("policy", "PolicyName")
	newProvider := func(c *call) []target {
		return []target{{arn: c.tx.GlobalARN("iam", "oidc-provider/"+strings.TrimSuffix(strings.TrimPrefix(c.r.String("Url"), "https://"), "/"))}}
	}
	boundary := func(c *call, ctx map[string][]string) {
		b := c.r.String("PermissionsBoundary")
		if r := c.tx.Get("AWS::IAM::Role", c.r.String("RoleName")); b == "" && r != nil {
			b = props.Str(r.Props["PermissionsBoundary"])
		}
		if u := c.tx.Get("AWS::IAM::User", c.r.String("UserName")); b == "" && u != nil {
			b = props.Str(u.Props["PermissionsBoundary"])
		}
		if b != "" {
			ctx["iam:PermissionsBoundary"] = []string{b}
		}
	}
	arn := set("iam:PolicyARN", "PolicyArn")
	out := map[string]rule{
		"iam:CreateRole":                    {on: newRole, context: boundary, also: tagging("iam:TagRole", newRole)},
		"iam:PutRolePolicy":                 {on: role, context: boundary},
		"iam:DeleteRolePolicy":              {on: role, context: boundary},
		"iam:AttachRolePolicy":              {on: role, context: sets(boundary, arn)},
		"iam:DetachRolePolicy":              {on: role, context: sets(boundary, arn)},
		"iam:PutRolePermissionsBoundary":    {on: role, context: boundary},
		"iam:DeleteRolePermissionsBoundary": {on: role, context: boundary},
		"iam:CreateServiceLinkedRole": {on: func(c *call) []target {
			return []target{{arn: c.tx.GlobalARN("iam", "role/aws-service-role/"+c.r.String("AWSServiceName")+"/*")}}
		}, context: set("iam:AWSServiceName", "AWSServiceName")},
		"iam:CreateUser":                    {on: newUser, context: boundary, also: tagging("iam:TagUser", newUser)},
		"iam:PutUserPolicy":                 {on: user, context: boundary},
		"iam:DeleteUserPolicy":              {on: user, context: boundary},
		"iam:AttachUserPolicy":              {on: user, context: sets(boundary, arn)},
		"iam:DetachUserPolicy":              {on: user, context: sets(boundary, arn)},
		"iam:PutUserPermissionsBoundary":    {on: user, context: boundary},
		"iam:DeleteUserPermissionsBoundary": {on: user, context: boundary},
		"iam:GetServiceLinkedRoleDeletionStatus": {on: func(c *call) []target {
			// task/aws-service-role/SERVICE/ROLE/ID
			parts := strings.Split(c.r.String("DeletionTaskId"), "/")
			if len(parts) != 5 {
				return []target{{arn: arnOf(c.tx, "iam:role", "*")}}
			}
			return []target{find(c.tx, "AWS::IAM::Role", parts[3])}
		}},
		// What is asked about is the resource.
		"iam:SimulatePrincipalPolicy": {on: func(c *call) []target {
			arn := c.r.String("PolicySourceArn")
			typ := "AWS::IAM::Role"
			if strings.Contains(arn, ":user/") {
				typ = "AWS::IAM::User"
			}
			if arn == "" {
				return []target{{arn: arnOf(c.tx, "iam:role", "*")}}
			}
			return []target{find(c.tx, typ, arn)}
		}},
		"iam:CreateInstanceProfile":       {on: newProfile, also: tagging("iam:TagInstanceProfile", newProfile)},
		"iam:CreatePolicy":                {on: newPolicy, also: tagging("iam:TagPolicy", newPolicy)},
		"iam:CreateOpenIDConnectProvider": {on: newProvider, also: tagging("iam:TagOpenIDConnectProvider", newProvider)},
		"iam:AddRoleToInstanceProfile":    {on: profile, also: passing("RoleName", "ec2.amazonaws.com")},
	}
	for on, ops := range map[*func(*call) []target][]string{
		&role:     {"DeleteServiceLinkedRole", "DeleteRole", "GetRole", "GetRolePolicy", "ListAttachedRolePolicies", "ListInstanceProfilesForRole", "ListRolePolicies", "ListRoleTags", "TagRole", "UntagRole", "UpdateAssumeRolePolicy", "UpdateRole"},
		&profile:  {"DeleteInstanceProfile", "GetInstanceProfile", "RemoveRoleFromInstanceProfile"},
		&user:     {"CreateAccessKey", "DeleteAccessKey", "DeleteUser", "GetUser", "GetUserPolicy", "ListAccessKeys", "ListAttachedUserPolicies", "ListUserPolicies", "ListUserTags", "TagUser", "UntagUser", "UpdateAccessKey"},
		&policy:   {"CreatePolicyVersion", "DeletePolicyVersion", "ListEntitiesForPolicy", "SetDefaultPolicyVersion", "DeletePolicy", "GetPolicy", "GetPolicyVersion", "ListPolicyVersions"},
		&provider: {"UpdateOpenIDConnectProviderThumbprint", "AddClientIDToOpenIDConnectProvider", "DeleteOpenIDConnectProvider", "GetOpenIDConnectProvider", "RemoveClientIDFromOpenIDConnectProvider"},
	} {
		for _, op := range ops {
			out["iam:"+op] = rule{on: *on}
		}
	}
	return out
}

// keys: an alias is asked for beside its key.
// https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html
func keys() map[string]rule {
	key := func(parameter string) func(*call) []target {
		return func(c *call) []target { return []target{c.key(c.r.String(parameter))} }
	}
	alias := one("AWS::KMS::Alias", "AliasName")
	present := func(c *call) []target {
		if a := c.tx.Get("AWS::KMS::Alias", c.r.String("AliasName")); a != nil {
			return []target{c.key(props.Str(a.Props["TargetKeyId"]))}
		}
		return nil
	}
	out := map[string]rule{
		"kms:CreateKey":   {also: tagging("kms:TagResource", newly("kms:key"))},
		"kms:CreateAlias": {on: both(alias, key("TargetKeyId"))},
		"kms:DeleteAlias": {on: both(alias, present)},
		"kms:UpdateAlias": {on: both(alias, present, key("TargetKeyId"))},
	}
	for _, op := range []string{
		"CancelKeyDeletion", "DescribeKey", "DisableKey", "ListGrants", "RetireGrant", "RevokeGrant", "DisableKeyRotation", "EnableKey", "EnableKeyRotation", "GetKeyPolicy", "GetKeyRotationStatus",
		"ListKeyPolicies", "ListResourceTags", "PutKeyPolicy", "ScheduleKeyDeletion", "TagResource", "UntagResource", "UpdateKeyDescription",
	} {
		out["kms:"+op] = rule{on: key("KeyId")}
	}
	for op, r := range cryptography(key) {
		out["kms:"+op] = r
	}
	return out
}

// cryptography: what is done with a key may be bound to an encryption context.
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
func cryptography(key func(string) func(*call) []target) map[string]rule {
	bound := func(context, ref string) func(*call, map[string][]string) {
		return func(c *call, ctx map[string][]string) {
			encrypted(ctx, wire.TagMap(c.r.In[context]))
			if strings.HasPrefix(c.r.String(ref), "alias/") {
				ctx["kms:RequestAlias"] = []string{c.r.String(ref)}
			}
		}
	}
	algorithm := func(_ *call, ctx map[string][]string) { ctx["kms:EncryptionAlgorithm"] = []string{"SYMMETRIC_DEFAULT"} }
	// What is decrypted names its key.
	from := func(parameter string) func(*call) []target {
		return func(c *call) []target {
			if c.r.String(parameter) == "" {
				if b, err := base64.StdEncoding.DecodeString(c.r.String("CiphertextBlob")); err == nil {
					if made, err := ciphertext.Parse(b); err == nil {
						return []target{c.key(made.Key)}
					}
				}
			}
			return key(parameter)(c)
		}
	}
	grant := func(c *call, ctx map[string][]string) {
		set("kms:GrantOperations", "Operations")(c, ctx)
		set("kms:GranteePrincipal", "GranteePrincipal")(c, ctx)
		set("kms:RetiringPrincipal", "RetiringPrincipal")(c, ctx)
		for kind, m := range props.Map(c.r.In, "Constraints") {
			ctx["kms:GrantConstraintType"] = append(ctx["kms:GrantConstraintType"], kind)
			encrypted(ctx, wire.TagMap(m))
		}
	}
	out := map[string]rule{
		"CreateGrant":       {on: key("KeyId"), context: grant},
		"RotateKeyOnDemand": {on: key("KeyId")},
		"ListKeyRotations":  {on: key("KeyId")},
		"GenerateRandom":    {},
		"Encrypt":           {on: key("KeyId"), context: sets(bound("EncryptionContext", "KeyId"), algorithm)},
		"Decrypt":           {on: from("KeyId"), context: sets(bound("EncryptionContext", "KeyId"), algorithm)},
		"ReEncrypt": {action: "kms:ReEncryptFrom", make: func(c *call) []Demand {
			source, to := c.demands("kms:ReEncryptFrom", from("SourceKeyId")(c)), c.demands("kms:ReEncryptTo", key("DestinationKeyId")(c))
			same := []string{strconv.FormatBool(slices.Equal(source[0].Resources, to[0].Resources))}
			for context, ds := range map[string][]Demand{"Source": source, "Destination": to} {
				for _, d := range ds {
					bound(context+"EncryptionContext", context+"KeyId")(c, d.Context)
					algorithm(c, d.Context)
					d.Context["kms:ReEncryptOnSameKey"] = same
				}
			}
			return append(source, to...)
		}},
	}
	for _, op := range []string{"GenerateDataKey", "GenerateDataKeyWithoutPlaintext"} {
		out[op] = rule{on: key("KeyId"), context: bound("EncryptionContext", "KeyId")}
	}
	return out
}

// encrypted adds an encryption context's condition keys.
func encrypted(ctx map[string][]string, context map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(context)) {
		ctx["kms:EncryptionContext:"+k] = []string{context[k]}
		ctx["kms:EncryptionContextKeys"] = append(ctx["kms:EncryptionContextKeys"], k)
	}
}

// sessions: a role is assumed by its trust and by permission of the caller.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html
func sessions() map[string]rule {
	role := one("AWS::IAM::Role", "RoleArn")
	name := set("sts:RoleSessionName", "RoleSessionName")
	return map[string]rule{
		"sts:AssumeRole":                {on: role, context: sets(name, set("sts:ExternalId", "ExternalId"), set("sts:SourceIdentity", "SourceIdentity"))},
		"sts:AssumeRoleWithWebIdentity": {on: role, context: name},
	}
}
