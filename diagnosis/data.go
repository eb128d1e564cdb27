package diagnosis

func databases() []Entry {
	rds := []string{"AWS::RDS::*"}
	return []Entry{
		{
			ID: "database-capacity", Types: rds, Words: []string{"isn't available in the specified Availability Zone", "InsufficientDBInstanceCapacity", "because of insufficient capacity"},
			Cause:    "RDS has no room for this instance class in the zone at the moment",
			Next:     "repeat the command later, or choose another database.instanceClass or database.preferredZone",
			Document: rdsDocs + "APIReference/API_CreateDBInstance.html",
			Examples: []Failure{
				says("AWS::RDS::DBInstance", "The requested DB instance class db.m7g.large isn't available in the specified Availability Zone us-east-1a.", "GeneralServiceException"),
				says("AWS::RDS::DBInstance", "The specified DB instance class isn't available in the specified Availability Zone.", "GeneralServiceException"),
			},
		},
		{
			ID: "database-busy", Types: rds, Words: []string{"The DB instance isn't in a valid state", "is not in available state", "is not currently in the available state", "is already being deleted"},
			Cause:    "the database is in the middle of something else: a backup, a maintenance, a change, or it is stopped",
			Next:     "aws rds describe-db-instances shows its status; when it is available again, repeat the command",
			Document: rdsDocs + "UserGuide/accessing-monitoring.html",
			Examples: []Failure{
				says("AWS::RDS::DBInstance", "Database instance is not in available state.", "InvalidRequest"),
				says("AWS::RDS::DBInstance", "The DB instance isn't in a valid state.", "InvalidRequest"),
			},
		},
		{
			ID: "database-exists", Types: rds, Words: []string{"DB instance already exists"},
			Cause:    "the region has a database of this name that no stack of the deployment made",
			Next:     "give the deployment another name, or delete that database, with a snapshot if need be",
			Document: rdsDocs + "APIReference/API_CreateDBInstance.html",
			Examples: []Failure{says("AWS::RDS::DBInstance", "DB instance already exists", "AlreadyExists")},
		},
		{
			ID: "snapshot-missing", Types: rds, Words: []string{"DBSnapshot not found", "DBSnapshotNotFound"},
			Cause:    "the snapshot to restore from is not in this account and region",
			Next:     "correct database.snapshot; aws rds describe-db-snapshots lists those that there are",
			Document: rdsDocs + "APIReference/API_RestoreDBInstanceFromDBSnapshot.html",
			Examples: []Failure{says("AWS::RDS::DBInstance", "DBSnapshot not found: poolside-final", "NotFound")},
		},
		{
			ID: "snapshot-not-ready", Types: rds, Words: []string{"Cannot restore from DB snapshot {snapshot}: it is in state {state}"},
			Cause:    "the snapshot {snapshot} is {state}",
			Next:     "wait until it is available, then repeat the command",
			Document: rdsDocs + "APIReference/API_RestoreDBInstanceFromDBSnapshot.html",
			Examples: []Failure{says("AWS::RDS::DBInstance", "Cannot restore from DB snapshot poolside-final: it is in state creating", "InvalidRequest")},
		},
		{
			ID: "snapshot-exists", Types: rds, Words: []string{"a snapshot with the identifier {snapshot} already exists"},
			Cause:    "there is a snapshot {snapshot} already",
			Next:     "delete or keep it under another name, then repeat the command",
			Document: rdsDocs + "APIReference/API_CreateDBSnapshot.html",
			Examples: []Failure{says("AWS::RDS::DBInstance", "Cannot create the snapshot because a snapshot with the identifier poolside-final already exists.", "AlreadyExists")},
		},
		{
			ID: "database-version", Types: rds, Words: []string{"Cannot find version {_} for postgres", "Cannot upgrade postgres from"},
			Cause:    "RDS does not offer this version of PostgreSQL, or no way to it from the present one",
			Next:     "correct database.version; aws rds describe-db-engine-versions --engine postgres lists versions and what each can be upgraded to",
			Document: rdsDocs + "APIReference/API_DescribeDBEngineVersions.html",
			Examples: []Failure{
				says("AWS::RDS::DBInstance", "Cannot find version 99.1 for postgres", "InvalidRequest"),
				says("AWS::RDS::DBInstance", "Cannot upgrade postgres from 16.4 to 15.8", "InvalidRequest"),
			},
		},
		{
			ID: "database-class", Types: rds, Words: []string{"RDS does not support creating a DB instance with the following combination", "does not support the {_} DB instance class", "Invalid DB Instance class"},
			Cause:    "RDS does not offer this instance class for this version in the region",
			Next:     "choose another database.instanceClass; aws rds describe-orderable-db-instance-options --engine postgres lists them",
			Document: rdsDocs + "UserGuide/Concepts.DBInstanceClass.html",
			Examples: []Failure{says("AWS::RDS::DBInstance", "RDS does not support creating a DB instance with the following combination: DBInstanceClass=db.t2.micro, Engine=postgres, EngineVersion=16.4", "InvalidRequest")},
		},
		{
			ID: "database-zones", Types: rds, Words: []string{"doesn't meet Availability Zone (AZ) coverage requirement", "doesn't cover two Availability Zones", "doesn't cover the Availability Zone"},
			Cause:    "the database's subnets are in too few zones",
			Next:     "name private subnets in two zones or more in network.existing.privateSubnetIds, or correct database.preferredZone",
			Document: rdsDocs + "UserGuide/USER_VPC.WorkingWithRDSInstanceinaVPC.html",
			Examples: []Failure{says("AWS::RDS::DBSubnetGroup", "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. Current AZ coverage: us-east-1a. Add subnets to cover at least 2 AZs.", "GeneralServiceException")},
		},
		{
			ID: "database-group-in-use", Types: rds, Words: []string{"because at least one database instance: {_} is still using it", "are still members of this parameter group"},
			Cause:    "a database that no stack of the deployment made uses the group: somebody restored one into it",
			Next:     "aws rds describe-db-instances shows it; move or delete it, then repeat the command",
			Document: rdsDocs + "APIReference/API_DeleteDBSubnetGroup.html",
			Examples: []Failure{says("AWS::RDS::DBSubnetGroup", "Cannot delete the subnet group 'poolside' because at least one database instance: copy is still using it.", "InvalidRequest")},
		},
		{
			ID: "database-network", Types: rds, Words: []string{"InvalidVPCNetworkStateFault", "The DB instance can't be placed in"},
			Cause:    "the database's subnets have no room or are gone",
			Next:     "look at the free addresses of the private subnets, then repeat the command",
			Document: rdsDocs + "UserGuide/USER_VPC.WorkingWithRDSInstanceinaVPC.html",
			Examples: []Failure{says("AWS::RDS::DBInstance", "The DB instance can't be placed in us-east-1a: no free addresses", "InvalidRequest")},
		},
	}
}

func stores() []Entry {
	s3, ecr, backup := []string{"AWS::S3::*"}, []string{"AWS::ECR::*"}, []string{"AWS::Backup::*"}
	return []Entry{
		{
			ID: "bucket-name-taken", Types: s3, Words: []string{"The requested bucket name is not available", "BucketAlreadyExists"},
			Cause:    "somebody in the world has a bucket of this name, or had one until a moment ago",
			Next:     "set another name under storage, such as storage.models.name; if the bucket was just deleted, repeat the command in an hour",
			Document: s3Docs + "userguide/bucketnamingrules.html",
			Examples: []Failure{says("AWS::S3::Bucket", "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.", "AlreadyExists")},
		},
		{
			ID: "bucket-is-yours", Types: s3, Words: []string{"you already own it"},
			Cause:    "the account has this bucket, and no stack of the deployment made it: an earlier deployment kept it, or somebody made it",
			Next:     "set another name under storage, such as storage.models.name, or empty and delete the bucket if nobody needs it",
			Document: s3Docs + "userguide/create-bucket-faq.html",
			Examples: []Failure{says("AWS::S3::Bucket", "Your previous request to create the named bucket succeeded and you already own it.", "AlreadyExists")},
		},
		{
			ID: "bucket-operation", Types: s3, Words: []string{"A conflicting conditional operation is currently in progress against this resource"},
			Cause:    "S3 is still busy with an earlier operation on the bucket, such as its deletion",
			Next:     "repeat the command in some minutes; after a deletion in another region it can take an hour",
			Document: "https://repost.aws/knowledge-center/s3-conflicting-conditional-operation",
			Examples: []Failure{says("AWS::S3::Bucket", "A conflicting conditional operation is currently in progress against this resource. Please try again.", "GeneralServiceException")},
		},
		{
			ID: "bucket-not-empty", Types: s3, Words: []string{"The bucket you tried to delete is not empty"},
			Cause:    "objects, versions or delete markers are in the bucket: something still writes to it, or objects are locked",
			Next:     "repeat the command, which empties it again; stop whoever writes to {id} first",
			Document: s3Docs + "userguide/delete-bucket.html",
			Examples: []Failure{says("AWS::S3::Bucket", "The bucket you tried to delete is not empty. You must delete all versions in the bucket.", "GeneralServiceException")},
		},
		{
			ID: "object-locked", Types: s3, Words: []string{"because object protected by object lock"},
			Cause:    "objects in the bucket are locked until their retention ends",
			Next:     "wait until then, or delete with --data keep or snapshot, which leave the bucket",
			Document: s3Docs + "userguide/object-lock.html",
			Examples: []Failure{says("AWS::S3::Bucket", "Access Denied because object protected by object lock.", "AccessDenied")},
		},
		{
			ID: "bucket-policy-blocked", Types: s3, Words: []string{"public policies are prevented by the BlockPublicPolicy setting", "public policies are blocked by the BlockPublicPolicy"},
			Cause:    "S3 takes the bucket's policy for a public one, which the account blocks",
			Next:     "poolhouse drift FILE shows whether the policy was changed; if not, report it with the reason",
			Document: s3Docs + "userguide/access-control-block-public-access.html",
			Examples: []Failure{says("AWS::S3::BucketPolicy", "User: arn:aws:iam::123456789012:user/me cannot do s3:PutBucketPolicy on resource: \\\"arn:aws:s3:::b\\\" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.", "AccessDenied")},
		},
		{
			ID: "repository-exists", Types: ecr, Words: []string{"The repository with name '{repository}' already exists in the registry"},
			Cause:    "the registry has a repository {repository} that no stack of the deployment made",
			Next:     "change registry.repositories or the deployment's name, or delete that repository if nobody needs its images",
			Document: ecrDocs + "APIReference/API_CreateRepository.html",
			Examples: []Failure{says("AWS::ECR::Repository", "The repository with name 'poolside/core' already exists in the registry with id '123456789012'", "AlreadyExists")},
		},
		{
			ID: "repository-not-empty", Types: ecr, Words: []string{"The repository with name '{repository}' {_} cannot be deleted because it still contains images"},
			Cause:    "images are in {repository}: something still pushes to it",
			Next:     "repeat the command, which deletes the images again; stop whoever pushes first",
			Document: ecrDocs + "APIReference/API_DeleteRepository.html",
			Examples: []Failure{says("AWS::ECR::Repository", "The repository with name 'poolside/core' in registry with id '123456789012' cannot be deleted because it still contains images", "GeneralServiceException")},
		},
		{
			ID: "vault-not-empty", Types: backup, Words: []string{"Backup vault cannot be deleted because it contains recovery points", "vault cannot be deleted (contains"},
			Cause:    "recovery points are in the vault",
			Next:     "poolhouse delete FILE --data destroy removes those that may go; locked ones go when their retention ends",
			Document: bakDocs + "API_DeleteBackupVault.html",
			Examples: []Failure{says("AWS::Backup::BackupVault", "Backup vault cannot be deleted because it contains recovery points.", "InvalidRequest")},
		},
		{
			ID: "plan-has-selections", Types: backup, Words: []string{"Related backup plan selections must be deleted prior to backup plan deletion"},
			Cause:    "somebody added resources to the backup plan outside of CloudFormation",
			Next:     "remove those selections in AWS Backup, then repeat the command",
			Document: bakDocs + "API_DeleteBackupPlan.html",
			Examples: []Failure{says("AWS::Backup::BackupPlan", "Related backup plan selections must be deleted prior to backup plan deletion", "InvalidRequest")},
		},
		{
			ID: "vault-exists", Types: backup, Words: []string{"Backup vault with the same name already exists"},
			Cause:    "the account has a vault of this name: an earlier deployment of this name left it with its recovery points",
			Next:     "give the deployment another name, or delete the recovery points and the vault if nobody needs them",
			Document: bakDocs + "API_DeleteBackupVault.html",
			Examples: []Failure{says("AWS::Backup::BackupVault", "Backup vault with the same name already exists", "AlreadyExists")},
		},
	}
}
