package templates

import (
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/cloudwatch"
	"github.com/poolhouse/poolhouse/cfn/logs"
	"github.com/poolhouse/poolhouse/cfn/rds"
	"github.com/poolhouse/poolhouse/cfn/secretsmanager"
	"github.com/poolhouse/poolhouse/cfn/sns"
)

// SnapshotParameter, in the stack database, is the snapshot that the database
// was made from, or empty. Whoever deploys fills it when the stack is created
// and hands on the previous value ever after: another value, or none, makes
// CloudFormation replace the database.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-rds-dbinstance.html
const SnapshotParameter = "Snapshot"

// PinnedParameter, in the stack database while it has one zone, is "true" when
// the database was made in the preferred zone, else "false". Whoever deploys
// leaves the default when the stack is created and hands on the previous value;
// of a stack that had no such parameter, since the database had a standby, the
// value is "false" ever after: CloudFormation takes the zone away with the change
// to two zones, and giving one back would replace the database.
const PinnedParameter = "Pinned"

// The names inside the database server. They are ours.
const (
	databaseName    = "poolside"
	databaseMaster  = "poolhouse"
	databaseAccount = "poolside_app"
)

// database is PostgreSQL with what watches over it. The instance is named, so
// CloudFormation refuses every change that would replace it: its zone, when it
// is alone in one, and its name, key and snapshot.
func database(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Database)
	c := a.Config.Database
	snapshot := t.Parameter(SnapshotParameter, cfn.Parameter{
		Default:     cfn.V(c.Snapshot),
		Description: "Snapshot to start from. Keep the previous value at every update.",
	}).Ref()
	restored := t.Condition("Restored", cfn.Not(cfn.Equals(snapshot, cfn.V(""))))
	// A snapshot brings these along.
	unlessRestored := func(v cfn.Value[string]) cfn.Value[string] {
		return cfn.If(restored, cfn.NoValue[string](), v)
	}

	subnets := t.Add("SubnetGroup", rds.DBSubnetGroup{
		DBSubnetGroupDescription: cfn.V("Private subnets of " + a.Name()),
		SubnetIds:                subnetIDs(t, architecture.Private),
		Tags:                     named(a, "database"),
	})
	major, _, _ := strings.Cut(c.Version, ".")
	parameters := t.Add("ParameterGroup", rds.DBParameterGroup{
		Description: cfn.V("PostgreSQL " + major + " of " + a.Name()),
		Family:      cfn.V("postgres" + major),
		Parameters:  databaseSettings(),
		Tags:        named(a, "database"),
	})

	var exports []cfn.Handle
	for _, log := range databaseLogs() {
		exports = append(exports, t.Add(cfn.LogicalID(camel(log)+"LogGroup"), logs.LogGroup{
			LogGroupName:    cfn.V(a.DatabaseLogGroup(log)),
			KmsKeyId:        keyARN(t, architecture.KeyLogs),
			RetentionInDays: cfn.V(a.Config.Cluster.LogRetentionDays),
		}))
	}

	instance := rds.DBInstance{
		DBInstanceIdentifier:     cfn.V(a.DatabaseName()),
		DBInstanceClass:          cfn.V(c.InstanceClass),
		Engine:                   cfn.V("postgres"),
		EngineVersion:            cfn.V(c.Version),
		AllowMajorVersionUpgrade: cfn.V(true),
		AutoMinorVersionUpgrade:  cfn.V(true),
		DBSnapshotIdentifier:     cfn.If(restored, snapshot, cfn.NoValue[string]()),
		DBName:                   unlessRestored(cfn.V(databaseName)),
		Port:                     cfn.V(strconv.Itoa(architecture.PostgresPort)),

		MasterUsername:                  unlessRestored(cfn.V(databaseMaster)),
		ManageMasterUserPassword:        cfn.V(true),
		MasterUserSecret:                &rds.MasterUserSecret{KmsKeyId: keyARN(t, architecture.KeySecrets)},
		EnableIAMDatabaseAuthentication: cfn.V(true),
		CACertificateIdentifier:         cfn.V(architecture.DatabaseAuthority),

		AllocatedStorage: cfn.V(strconv.Itoa(c.StorageGiB)),
		StorageType:      cfn.V("gp3"),
		StorageEncrypted: cfn.V(true), // of a snapshot too: one that isn't encrypted is refused
		KmsKeyId:         unlessRestored(keyARN(t, architecture.KeyDatabase)),

		DBSubnetGroupName:    subnets.Ref(),
		VPCSecurityGroups:    cfn.ListOf(securityGroupID(t, groupDatabase)),
		PubliclyAccessible:   cfn.V(false),
		DBParameterGroupName: parameters.Ref(),
		MultiAZ:              cfn.V(c.MultiAZ),

		BackupRetentionPeriod:      cfn.V(c.BackupDays),
		PreferredBackupWindow:      cfn.V(c.BackupWindow),
		PreferredMaintenanceWindow: cfn.V(c.MaintenanceWindow),
		CopyTagsToSnapshot:         cfn.V(true),
		DeleteAutomatedBackups:     cfn.V(false),
		DeletionProtection:         cfn.V(false),

		EnablePerformanceInsights:          cfn.V(true),
		PerformanceInsightsKMSKeyId:        keyARN(t, architecture.KeyDatabase),
		PerformanceInsightsRetentionPeriod: cfn.V(7),
		EnableCloudwatchLogsExports:        cfn.L(databaseLogs()...),
	}
	// RDS makes no database whose storage may grow to what it has.
	// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.Autoscaling.html
	if c.MaxStorageGiB > c.StorageGiB {
		instance.MaxAllocatedStorage = cfn.V(c.MaxStorageGiB)
	}
	if !c.MultiAZ {
		pinned := t.Parameter(PinnedParameter, cfn.Parameter{
			Default:       cfn.V("true"),
			AllowedValues: []string{"true", "false"},
			Description:   "Made in the preferred zone. Keep the previous value; false once there was a standby.",
		}).Ref()
		instance.AvailabilityZone = cfn.If(t.Condition("InPreferredZone", cfn.Equals(pinned, cfn.V("true"))),
			zoneName(t, c.PreferredZone-1), cfn.NoValue[string]())
	}
	if c.DeletionProtection {
		instance.DeletionProtection = protection(t)
	}
	if c.MonitoringSeconds > 0 {
		monitoring := role(a, "database-monitoring", "Lets RDS write the operating system's metrics of "+a.DatabaseName(),
			// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/cross-service-confused-deputy-prevention.html
			trust("monitoring.rds.amazonaws.com", sameAccount()))
		monitoring.ManagedPolicyArns = managedPolicies("service-role/AmazonRDSEnhancedMonitoringRole")
		instance.MonitoringRoleArn = t.Add("MonitoringRole", monitoring).Att("Arn")
		instance.MonitoringInterval = cfn.V(c.MonitoringSeconds)
	}
	opts := []cfn.Option{
		cfn.DeletionPolicy(cfn.RetainExceptOnCreate), cfn.UpdateReplacePolicy(cfn.Snapshot), cfn.DependsOn(exports...),
	}
	if major == c.Version {
		// RDS takes its default minor version; cfn-lint takes it for 17.0.
		opts = append(opts, cfn.Metadata(map[string]any{
			"cfn-lint": map[string]any{"config": map[string]any{"ignore_checks": []string{"W3691"}}},
		}))
	}
	db := t.Add("Database", instance, opts...)

	// The password changes only when this definition does, so it holds nothing
	// that could: host and port are outputs.
	account := t.Add("ApplicationSecret", secretsmanager.Secret{
		Description: cfn.V("Database account of the application, apart from the server's master"),
		KmsKeyId:    keyARN(t, architecture.KeySecrets),
		GenerateSecretString: &secretsmanager.GenerateSecretString{
			SecretStringTemplate: cfn.V(`{"dbname":"` + databaseName + `","username":"` + databaseAccount + `"}`),
			GenerateStringKey:    cfn.V("password"),
			PasswordLength:       cfn.V(40),
			ExcludePunctuation:   cfn.V(true), // the password goes into connection URLs
		},
	})

	topic := alarmTopic(t, a)
	watchDatabase(t, a, db, topic)
	watchNAT(t, a, topic)

	t.Output("Identifier", db.Ref())
	t.Output("Arn", db.Att("DBInstanceArn"))
	t.Output("Endpoint", db.Att("Endpoint.Address"))
	t.Output("Port", db.Att("Endpoint.Port"))
	t.Output("Name", cfn.V(databaseName))
	t.Output("MasterSecretArn", db.Att("MasterUserSecret.SecretArn"), cfn.Description("Kept and rotated by RDS"))
	t.Output("ApplicationSecretArn", account.Ref())
	return t
}

// databaseLogs are PostgreSQL's logs that RDS hands to CloudWatch Logs.
func databaseLogs() []string { return []string{"postgresql", "upgrade"} }

// databaseSettings differ from AWS's defaults: TLS and SCRAM for every
// connection, statistics by statement, and connections and waits in the log.
// Statements aren't logged for themselves: they can hold data, and those that
// set passwords do.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Appendix.PostgreSQL.CommonDBATasks.Parameters.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/PostgreSQL_Password_Encryption_configuration.html
func databaseSettings() map[string]string {
	return map[string]string{
		"rds.force_ssl":                     "1",
		"ssl_min_protocol_version":          "TLSv1.2",
		"password_encryption":               "scram-sha-256",
		"rds.accepted_password_auth_method": "scram",
		"shared_preload_libraries":          "pg_stat_statements",
		"track_io_timing":                   "1",
		"log_connections":                   "1",
		"log_disconnections":                "1",
		"log_lock_waits":                    "1",
		"log_temp_files":                    "10240",
	}
}

// alarmTopic is where alarms are raised; nobody is subscribed to it yet.
func alarmTopic(t *cfn.Template, a *architecture.Architecture) cfn.Handle {
	topic := t.Add("AlarmTopic", sns.Topic{
		DisplayName:    cfn.V("Database " + a.DatabaseName()),
		KmsMasterKeyId: keyARN(t, architecture.KeyLogs),
	})
	t.Add("AlarmTopicPolicy", sns.TopicPolicy{
		Topics: cfn.ListOf(topic.Ref()),
		PolicyDocument: cfn.Policy{Statement: []cfn.Statement{{
			Sid:       "Alarms",
			Principal: cfn.Principal{Service: cfn.L("cloudwatch.amazonaws.com")},
			Action:    cfn.L("sns:Publish"),
			Resource:  cfn.ListOf(topic.Ref()),
			Condition: sameAccount(),
		}, {
			Sid:       "TLSOnly",
			Effect:    cfn.Deny,
			Principal: cfn.Principal{Any: true},
			Action:    cfn.L("sns:Publish"),
			Resource:  cfn.ListOf(topic.Ref()),
			Condition: cfn.Conditions{"Bool": {"aws:SecureTransport": "false"}},
		}}},
	})
	t.Output("AlarmTopicArn", topic.Ref(), cfn.Description("Subscribe here to hear of the alarms of database and self-managed NAT"))
	return topic
}

// watchDatabase raises alarms of the database. Thresholds are ours.
func watchDatabase(t *cfn.Template, a *architecture.Architecture, db, topic cfn.Handle) {
	const gib = 1 << 30
	for _, w := range []struct {
		id, metric, comparison, text string
		threshold                    float64
	}{
		{"CpuAlarm", "CPUUtilization", "GreaterThanThreshold", "CPU above 80 % for 15 minutes", 80},
		{"StorageAlarm", "FreeStorageSpace", "LessThanThreshold", "free storage below a tenth of what was allocated at first", float64(a.Config.Database.StorageGiB) / 10 * gib},
		{"MemoryAlarm", "FreeableMemory", "LessThanThreshold", "freeable memory below 512 MiB for 15 minutes", gib / 2},
		{"ConnectionsAlarm", "DatabaseConnections", "GreaterThanThreshold", "more than 400 connections for 15 minutes", 400},
	} {
		t.Add(cfn.LogicalID(w.id), cloudwatch.Alarm{
			AlarmDescription:   cfn.V("Database " + a.DatabaseName() + ": " + w.text),
			Namespace:          cfn.V("AWS/RDS"),
			MetricName:         cfn.V(w.metric),
			Dimensions:         []cloudwatch.Dimension{{Name: cfn.V("DBInstanceIdentifier"), Value: db.Ref()}},
			Statistic:          cfn.V("Average"),
			Period:             cfn.V(300),
			EvaluationPeriods:  cfn.V(3),
			Threshold:          cfn.V(w.threshold),
			ComparisonOperator: cfn.V(w.comparison),
			TreatMissingData:   cfn.V("missing"),
			AlarmActions:       cfn.ListOf(topic.Ref()),
			OKActions:          cfn.ListOf(topic.Ref()),
		})
	}
}
