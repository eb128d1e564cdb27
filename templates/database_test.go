package templates

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

func TestDatabase(t *testing.T) {
	t.Parallel()
	single := func(c *config.Config) {
		c.Database.MultiAZ, c.Database.PreferredZone = false, 2
		c.Deviations = map[string]string{architecture.SingleAZDatabase: "An hour of downtime is accepted."}
	}
	for name, test := range map[string]struct {
		change func(*config.Config)
		want   map[string]string // "" means absent
	}{
		"production": {func(*config.Config) {}, map[string]string{
			"Engine":                             "postgres",
			"EngineVersion":                      "17",
			"DBInstanceIdentifier":               "poolside",
			"DBInstanceClass":                    "db.m7g.xlarge",
			"MultiAZ":                            "true",
			"AvailabilityZone":                   "",
			"AllocatedStorage":                   "200",
			"MaxAllocatedStorage":                "1000",
			"StorageType":                        "gp3",
			"StorageEncrypted":                   "true",
			"PubliclyAccessible":                 "false",
			"BackupRetentionPeriod":              "35",
			"PreferredBackupWindow":              "01:00-02:00",
			"PreferredMaintenanceWindow":         "sun:07:00-sun:08:00",
			"CopyTagsToSnapshot":                 "true",
			"AutoMinorVersionUpgrade":            "true",
			"CACertificateIdentifier":            "rds-ca-rsa2048-g1",
			"DeletionProtection":                 "${Protection}",
			"EnablePerformanceInsights":          "true",
			"PerformanceInsightsKMSKeyId":        "${KeysDatabaseKeyArn}",
			"PerformanceInsightsRetentionPeriod": "7",
			"EnableCloudwatchLogsExports":        "postgresql,upgrade",
			"MonitoringInterval":                 "60",
			"MonitoringRoleArn":                  "${MonitoringRole.Arn}",
			"ManageMasterUserPassword":           "true",
			"MasterUserPassword":                 "",
			"MasterUserSecret":                   `{"KmsKeyId":{"Ref":"KeysSecretsKeyArn"}}`,
			"DBSubnetGroupName":                  "${SubnetGroup}",
			"DBParameterGroupName":               "${ParameterGroup}",
			"VPCSecurityGroups":                  "${NetworkDatabaseSecurityGroupId}",
			"Port":                               "5432",
		}},
		"one zone": {single, map[string]string{
			"MultiAZ":          "false",
			"AvailabilityZone": "if(InPreferredZone,${NetworkZone2Name},${AWS::NoValue})",
		}},
		"unprotected":   {func(c *config.Config) { c.Database.DeletionProtection = false }, map[string]string{"DeletionProtection": "false"}},
		"fixed storage": {func(c *config.Config) { c.Database.MaxStorageGiB = c.Database.StorageGiB }, map[string]string{"AllocatedStorage": "200", "MaxAllocatedStorage": ""}},
		"unmonitored":   {func(c *config.Config) { c.Database.MonitoringSeconds = 0 }, map[string]string{"MonitoringInterval": "", "MonitoringRoleArn": ""}},
		// What a snapshot brings along must not be named.
		// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_RestoreDBInstanceFromDBSnapshot.html
		"snapshot or not": {func(*config.Config) {}, map[string]string{
			"DBSnapshotIdentifier": "if(Restored,${Snapshot},${AWS::NoValue})",
			"DBName":               "if(Restored,${AWS::NoValue},poolside)",
			"KmsKeyId":             "if(Restored,${AWS::NoValue},${KeysDatabaseKeyArn})",
			"MasterUsername":       "if(Restored,${AWS::NoValue},poolhouse)",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := built(t, planned(t, test.change), architecture.Database)
			props := d.properties(t, "Database", "AWS::RDS::DBInstance")
			for key, want := range test.want {
				if got := text(props[key]); got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
			}
			if _, ok := d.Parameters[ProtectionParameter]; ok != (name != "unprotected") {
				t.Errorf("parameter %s: %t", ProtectionParameter, ok)
			}
			if _, ok := d.Resources["MonitoringRole"]; ok != (name != "unmonitored") {
				t.Errorf("monitoring role: %t", ok)
			}
		})
	}
}

func TestDatabaseSnapshotParameter(t *testing.T) {
	t.Parallel()
	for _, snapshot := range []string{"", "before-the-fire"} {
		d := built(t, planned(t, func(c *config.Config) { c.Database.Snapshot = snapshot }), architecture.Database)
		if got := d.Parameters[SnapshotParameter]["Default"]; got != snapshot {
			t.Errorf("default is %v, want %q", got, snapshot)
		}
		if got, want := text(d.Conditions["Restored"]), `{"Fn::Not":[{"Fn::Equals":[{"Ref":"Snapshot"},""]}]}`; got != want {
			t.Errorf("condition is %s, want %s", got, want)
		}
	}
}

func TestDatabaseOutlivesItsStack(t *testing.T) {
	t.Parallel()
	r := built(t, planned(t), architecture.Database).Resources["Database"]
	if r.DeletionPolicy != "RetainExceptOnCreate" || r.UpdateReplacePolicy != "Snapshot" {
		t.Errorf("deletion policy %s, replacement policy %s", r.DeletionPolicy, r.UpdateReplacePolicy)
	}
}

// RDS would make the groups itself, without key and without retention.
func TestDatabaseLogGroups(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Database)
	if diff := cmp.Diff([]string{"PostgresqlLogGroup", "UpgradeLogGroup"}, d.Resources["Database"].DependsOn); diff != "" {
		t.Errorf("database comes after (-want +got):\n%s", diff)
	}
	for id, name := range map[string]string{
		"PostgresqlLogGroup": "/aws/rds/instance/poolside/postgresql",
		"UpgradeLogGroup":    "/aws/rds/instance/poolside/upgrade",
	} {
		want := object{"LogGroupName": name, "KmsKeyId": object{"Ref": "KeysLogsKeyArn"}, "RetentionInDays": 365.0}
		if diff := cmp.Diff(want, d.properties(t, id, "AWS::Logs::LogGroup")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
}

func TestDatabaseSettings(t *testing.T) {
	t.Parallel()
	for version, family := range map[string]string{"17": "postgres17", "16.9": "postgres16"} {
		d := built(t, planned(t, func(c *config.Config) { c.Database.Version = version }), architecture.Database)
		group := d.properties(t, "ParameterGroup", "AWS::RDS::DBParameterGroup")
		if group["Family"] != family {
			t.Errorf("version %s has family %v, want %s", version, group["Family"], family)
		}
		if diff := cmp.Diff(any(object{
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
		}), group["Parameters"]); diff != "" {
			t.Errorf("version %s (-want +got):\n%s", version, diff)
		}
	}
}

// The application's account has nothing to do with the master's, and no
// password is in the template.
func TestApplicationSecret(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Database)
	s := d.properties(t, "ApplicationSecret", "AWS::SecretsManager::Secret")
	if text(s["KmsKeyId"]) != "${KeysSecretsKeyArn}" || s["SecretString"] != nil {
		t.Errorf("secret: %s", text(s))
	}
	generate, _ := s["GenerateSecretString"].(object)
	if generate["SecretStringTemplate"] != `{"dbname":"poolside","username":"poolside_app"}` || generate["GenerateStringKey"] != "password" {
		t.Errorf("secret is generated from %s", text(generate))
	}
	if got := text(d.Outputs["MasterSecretArn"]["Value"]); got != "${Database.MasterUserSecret.SecretArn}" {
		t.Errorf("master secret is %s", got)
	}
	if got := text(d.Outputs["ApplicationSecretArn"]["Value"]); got != "${ApplicationSecret}" {
		t.Errorf("application secret is %s", got)
	}
}

func TestDatabaseAlarms(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Database)
	got := map[string]string{}
	for _, id := range d.ofType("AWS::CloudWatch::Alarm") {
		p := d.Resources[id].Properties
		got[text(p["MetricName"])] = text(p["ComparisonOperator"]) + " " + text(p["Threshold"])
		if text(p["AlarmActions"]) != "${AlarmTopic}" || text(at(p, "Dimensions", 0, "Value")) != "${Database}" {
			t.Errorf("%s: %s", id, text(p))
		}
	}
	want := map[string]string{
		"CPUUtilization":      "GreaterThanThreshold 80",
		"FreeStorageSpace":    "LessThanThreshold 21474836480",
		"FreeableMemory":      "LessThanThreshold 536870912",
		"DatabaseConnections": "GreaterThanThreshold 400",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("alarms (-want +got):\n%s", diff)
	}
	for id := range d.Resources {
		if strings.HasPrefix(id, "NatAlarm") {
			t.Errorf("%s is there without self-managed NAT", id)
		}
	}
	topic := d.properties(t, "AlarmTopic", "AWS::SNS::Topic")
	if text(topic["KmsMasterKeyId"]) != "${KeysLogsKeyArn}" {
		t.Errorf("topic is encrypted with %s", text(topic["KmsMasterKeyId"]))
	}
	policy := text(d.properties(t, "AlarmTopicPolicy", "AWS::SNS::TopicPolicy")["PolicyDocument"])
	for _, want := range []string{`"aws:SecureTransport":"false"`, `"aws:SourceAccount"`, `"cloudwatch.amazonaws.com"`} {
		if !strings.Contains(policy, want) {
			t.Errorf("topic policy %s, want %s in it", policy, want)
		}
	}
}

// TestL28NATAlarms: an instance of self-managed NAT that fails, or is missing, is
// heard of at the same topic, in each zone that has one.
func TestL28NATAlarms(t *testing.T) {
	t.Parallel()
	for mode, want := range map[config.NATMode]int{config.NATInstancePerZone: 3, config.NATSingleInstance: 1} {
		a := planned(t, natMode(mode))
		d := built(t, a, architecture.Database)
		for zone := range 3 {
			id := "NatAlarm" + number(zone)
			if d.Resources[id].Type == "" != (zone >= want) {
				t.Errorf("%s: %s is %q", mode, id, d.Resources[id].Type)
			}
			if zone >= want {
				continue
			}
			p := d.properties(t, id, "AWS::CloudWatch::Alarm")
			for key, want := range map[string]string{
				"Namespace": "AWS/EC2", "MetricName": "StatusCheckFailed", "Statistic": "Maximum", "Threshold": "0", "ComparisonOperator": "GreaterThanThreshold",
				"TreatMissingData": "breaching", "AlarmActions": "${AlarmTopic}", "OKActions": "${AlarmTopic}",
			} {
				if got := text(p[key]); got != want {
					t.Errorf("%s: %s of %s is %s, want %s", mode, key, id, got, want)
				}
			}
			if got := text(at(p, "Dimensions", 0)); !strings.Contains(got, "AutoScalingGroupName") || !strings.Contains(got, "NetworkNatGroups") {
				t.Errorf("%s: %s watches %s", mode, id, got)
			}
		}
		groups := text(built(t, a, architecture.Network).Outputs["NatGroups"]["Value"])
		if strings.Count(groups, "${NatGroup") != want {
			t.Errorf("%s: the groups are %s", mode, groups)
		}
	}
}
