package diagnosis

func identity() []Entry {
	roles := []string{"AWS::IAM::*"}
	return []Entry{
		{
			ID: "role-exists", Types: roles, Words: []string{"Role with name {role} already exists"},
			Cause:    "the account has a role {role} that no stack of the deployment made",
			Next:     "delete the role {role} if nobody uses it, or give the deployment another name",
			Document: iamDocs + "reference_identifiers.html",
			Examples: []Failure{says("AWS::IAM::Role", "Role with name poolside-nodes already exists.", "AlreadyExists")},
		},
		{
			ID: "oidc-provider-exists", Types: roles, Words: []string{"Provider with url {url} already exists"},
			Cause:    "IAM has an OIDC provider for {url} already: somebody made one for this cluster",
			Next:     "delete that provider in IAM, then repeat the command, which makes it again in its stack",
			Document: eksDocs + "userguide/enable-iam-roles-for-service-accounts.html",
			Examples: []Failure{says("AWS::IAM::OIDCProvider", "Provider with url https://oidc.eks.us-east-1.amazonaws.com/id/0123 already exists.", "AlreadyExists")},
		},
		{
			ID: "trust-principal", Types: roles, Words: []string{"Invalid principal in policy"},
			Cause:    "a trust policy names a principal that does not exist: it is misspelt, was deleted, or is too new for IAM to know it everywhere",
			Next:     "if this run made it, repeat the command; otherwise correct the ARN",
			Document: iamDocs + "troubleshoot_roles.html",
			Examples: []Failure{says("AWS::IAM::Role", "Invalid principal in policy: \\\"AWS\\\":\\\"arn:aws:iam::123456789012:role/none\\\"", "InvalidRequest")},
		},
		{
			ID: "boundary-missing", Types: roles, Words: []string{"Scope ARN: {policy} does not exist or is not attachable"},
			Cause:    "the permissions boundary {policy} does not exist in this account",
			Next:     "correct permissionBoundary, or have the policy made",
			Document: iamDocs + "access_policies_boundaries.html",
			Examples: []Failure{says("AWS::IAM::Role", "Scope ARN: arn:aws:iam::123456789012:policy/boundary does not exist or is not attachable.", "NotFound")},
		},
		{
			ID: "policy-missing", Types: roles, Words: []string{"Policy {policy} does not exist or is not attachable"},
			Cause:    "the policy {policy} does not exist in this partition or account",
			Next:     "report it with the region: a policy of AWS is missing there",
			Document: iamDocs + "access_policies_managed-vs-inline.html",
			Examples: []Failure{says("AWS::IAM::Role", "Policy arn:aws:iam::aws:policy/None does not exist or is not attachable.", "NotFound")},
		},
		{
			ID: "role-in-use", Types: roles, Words: []string{"Cannot delete entity, must", "Cannot delete a policy attached to entities"},
			Cause:    "somebody attached something to {resource} outside of CloudFormation, or put it into an instance profile",
			Next:     "detach it as the reason asks, then repeat the command",
			Document: iamDocs + "troubleshoot_roles.html",
			Examples: []Failure{says("AWS::IAM::Role", "Cannot delete entity, must remove roles from instance profile first.", "ResourceConflict")},
		},
		{
			ID: "policy-malformed", Types: roles, Codes: []string{"InvalidRequest"}, Rank: Kind,
			Cause:    "IAM does not take a policy or a name of {resource}",
			Next:     "correct what the reason names: tags, permissionBoundary and cluster.administrators are what roles take from the file",
			Document: iamDocs + "reference_policies_grammar.html",
			Examples: []Failure{says("AWS::IAM::Role", "AssumeRole policy may only specify STS AssumeRole actions.", "InvalidRequest")},
		},
	}
}

func keys() []Entry {
	key := []string{"AWS::KMS::*"}
	return []Entry{
		{
			ID: "key-principal", Types: key, Words: []string{"Policy contains a statement with one or more invalid principals"},
			Cause:    "the key policy names a principal that KMS does not see: a role of the last minute, or one that was deleted",
			Next:     "repeat the command in a minute. If it fails again, the service-linked role AWSServiceRoleForAutoScaling or the role in serviceRole is missing",
			Document: kmsDocs + "APIReference/API_CreateKey.html",
			Examples: []Failure{says("AWS::KMS::Key", "Policy contains a statement with one or more invalid principals.", "InvalidRequest")},
		},
		{
			ID: "key-lockout", Types: key, Words: []string{"The new key policy will not allow you to update the key policy in the future"},
			Cause:    "under the key policy the caller could not change it any more: the account's IAM does not let the caller call kms:PutKeyPolicy",
			Next:     "allow kms:PutKeyPolicy for the caller, or for serviceRole if there is one",
			Document: kmsDocs + "developerguide/key-policy-default.html",
			Examples: []Failure{says("AWS::KMS::Key", "The new key policy will not allow you to update the key policy in the future.", "InvalidRequest")},
		},
		{
			ID: "alias-exists", Types: key, Words: []string{"An alias with the name {alias} already exists"},
			Cause:    "the alias {alias} is there and no stack of the deployment has it: an earlier deployment of this name left it, or somebody made it",
			Next:     "aws kms delete-alias --alias-name with the part of {alias} from alias/ on, if nobody uses it; or give the deployment another name",
			Document: kmsDocs + "APIReference/API_CreateAlias.html",
			Examples: []Failure{says("AWS::KMS::Alias", "An alias with the name arn:aws:kms:us-east-1:123456789012:alias/poolside/storage already exists", "AlreadyExists")},
		},
		{
			ID: "key-pending-deletion", Words: []string{"key/{key} is pending deletion"},
			Cause:    "the key {key} is scheduled for deletion, and nothing can be encrypted or read with it",
			Next:     "aws kms cancel-key-deletion --key-id {key}, then aws kms enable-key --key-id {key}; then repeat the command",
			Document: kmsDocs + "developerguide/deleting-keys.html",
			Examples: []Failure{
				says("AWS::ECR::Repository", "arn:aws:kms:us-east-1:123456789012:key/0a1b is pending deletion.", "InvalidRequest"),
			},
		},
		{
			ID: "key-disabled", Words: []string{"key/{key} is disabled"},
			Cause:    "the key {key}, which {resource} needs, is disabled",
			Next:     "aws kms enable-key --key-id {key}; then repeat the command",
			Document: kmsDocs + "developerguide/enabling-keys.html",
			Examples: []Failure{says("AWS::SecretsManager::Secret", "arn:aws:kms:us-east-1:123456789012:key/0a1b is disabled.", "InvalidRequest")},
		},
		{
			ID: "logs-key", Types: []string{"AWS::Logs::*"}, Words: []string{"The specified KMS Key does not exist or is not allowed to be used with Arn", "The specified KMS key does not exist or is not allowed to be used"},
			Cause:    "CloudWatch Logs may not use the key: it is disabled, gone, or its policy was changed",
			Next:     "poolhouse drift FILE shows whether the key's policy was changed; poolhouse update FILE puts it back",
			Document: logDocs + "encrypt-log-data-kms.html",
			Examples: []Failure{says("AWS::Logs::LogGroup", "The specified KMS Key does not exist or is not allowed to be used with Arn 'arn:aws:logs:us-east-1:123456789012:log-group:x'", "AccessDenied")},
		},
		{
			ID: "database-key", Types: []string{"AWS::RDS::*"}, Words: []string{"The specified KMS key [{key}] does not exist, is not enabled or you do not have permissions"},
			Cause:    "RDS can't use the key {key}: it is disabled, gone, or the caller may not use it",
			Next:     "aws kms describe-key --key-id {key} shows its state; enable it, then repeat the command",
			Document: rdsDocs + "UserGuide/Overview.Encryption.Keys.html",
			Examples: []Failure{says("AWS::RDS::DBInstance", "The specified KMS key [arn:aws:kms:us-east-1:123456789012:key/0a1b] does not exist, is not enabled or you do not have permissions to access it.", "InvalidRequest")},
		},
		{
			ID: "volume-key", Words: []string{"Client.InternalError", "Client error on launch", "Client.InvalidKMSKey.InvalidState", "The KMS key provided is in an incorrect state"},
			Cause:    "EC2 could not use the key of the volumes: it is disabled, or its policy does not let Auto Scaling's service-linked role use it and make grants",
			Next:     "poolhouse drift FILE shows whether the key's policy was changed; poolhouse update FILE puts it back; a disabled key has to be enabled",
			Document: asgDocs + "key-policy-requirements-EBS-encryption.html",
			Examples: []Failure{
				says("AWS::EKS::Nodegroup", "Could not launch On-Demand Instances. Client.InternalError - Client error on launch. Launching EC2 instance failed.", "GeneralServiceException"),
			},
		},
		{
			ID: "registry-key", Types: []string{"AWS::ECR::*"}, Words: []string{"The operation failed due to a KMS exception"},
			Cause:    "ECR could not use the registry's key",
			Next:     "aws kms describe-key shows the state of the key; enable it, then repeat the command",
			Document: ecrDocs + "userguide/encryption-at-rest.html",
			Examples: []Failure{says("AWS::ECR::Repository", "The operation failed due to a KMS exception: AccessDenied", "GeneralServiceException")},
		},
	}
}
