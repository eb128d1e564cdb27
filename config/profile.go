package config

import "slices"

// Default is what a profile decides for a file that names nothing else. It is
// not valid by itself: a name, a region and the ways in are missing.
//
// The profiles differ only in what AWS can change in place, so that going from
// evaluation to production replaces nothing that holds data: the VPC's and the
// services' ranges, the keys and whether objects can be locked are equal.
// Sizes are ours except where the vendor names one: three m5.4xlarge for the
// platform, db.m7g.xlarge for the database, p5e.48xlarge for inference
// (https://docs.poolside.ai/deployment/cloud/aws-eks/cost-modeling,
// https://docs.poolside.ai/deployment/cloud/aws-eks/model-inference).
func Default(p Profile) *Config {
	c := &Config{
		APIVersion: APIVersion,
		Profile:    p,
		Network: Network{
			CIDR:     "10.80.0.0/16",
			Zones:    3,
			NAT:      NAT{Mode: NATGatewayPerZone, InstanceType: "t4g.medium"},
			FlowLogs: FlowLogs{Enabled: true, RetentionDays: 365},
			// What carries images, secrets and logs stays off the internet.
			Endpoints: []string{"ecr.api", "ecr.dkr", "kms", "logs", "secretsmanager", "ssm", "sts"},
		},
		Cluster: Cluster{
			Version:          "1.35",
			Logs:             []string{"api", "audit", "authenticator", "controllerManager", "scheduler"},
			LogRetentionDays: 365,
			ServiceCIDR:      "172.20.0.0/16",
		},
		Compute: []NodeGroup{
			DefaultGroup(p, Core),
			DefaultGroup(p, WebAssistant),
			DefaultGroup(p, Interface),
		},
		Database: Database{
			InstanceClass:      "db.m7g.xlarge",
			Version:            "17",
			StorageGiB:         200,
			MaxStorageGiB:      1000,
			MultiAZ:            true,
			PreferredZone:      1,
			BackupDays:         35,
			BackupWindow:       "01:00-02:00",
			MaintenanceWindow:  "sun:07:00-sun:08:00",
			DeletionProtection: true,
			MonitoringSeconds:  60,
		},
		Storage: Storage{
			Models:    Bucket{NoncurrentDays: 30},
			CodeDocs:  Bucket{NoncurrentDays: 90},
			Audit:     Bucket{InfrequentAccessDays: 90, NoncurrentDays: 365, ObjectLock: ObjectLock{Mode: LockGovernance, Days: 365}},
			Telemetry: Bucket{InfrequentAccessDays: 90, ExpireDays: 400, NoncurrentDays: 30},
			Logs:      Bucket{InfrequentAccessDays: 90, ExpireDays: 400, NoncurrentDays: 30},
		},
		Registry: Registry{
			Repositories: []string{
				"core-api", "web-assistant", "inference", "envoy", "database-client",
				"external-secrets", "aws-load-balancer-controller", "cluster-autoscaler", "k8s-device-plugin",
			},
			UntaggedDays: 14,
		},
		Access: Access{
			Web:   Endpoint{Scheme: SchemeInternetFacing},
			Admin: Endpoint{Scheme: SchemeInternal},
			SSO:   SSO{Enabled: true},
		},
		// After the database's own backup window, before its maintenance:
		// AWS Backup can't start in either
		// (https://docs.aws.amazon.com/aws-backup/latest/devguide/creating-a-backup-plan.html).
		Backups: Backups{Enabled: true, Schedule: "cron(0 4 * * ? *)", RetentionDays: 35},
		// A company's users come from few addresses, so the limit is for all of
		// them: 40 requests a second.
		WAF: WAF{Enabled: true, RateLimit: 12000},
	}
	for _, b := range c.Storage.buckets() {
		if b.Bucket.ObjectLock.Mode == "" {
			b.Bucket.ObjectLock.Mode = LockOff
		}
	}
	if p == Production {
		return c
	}
	c.Network.Zones = 2
	c.Network.NAT = NAT{Mode: NATSingleGateway, InstanceType: "t4g.small"}
	c.Network.Endpoints = nil
	c.Network.FlowLogs.RetentionDays = 30
	c.Cluster.LogRetentionDays = 30
	c.Compute = slices.Delete(c.Compute, 2, 3) // web-assistant serves API clients too
	c.Database.InstanceClass = "db.t4g.large"
	c.Database.StorageGiB = 50
	c.Database.MaxStorageGiB = 200
	c.Database.MultiAZ = false
	c.Database.BackupDays = 7
	c.Database.DeletionProtection = false
	c.Storage.Audit.ObjectLock = ObjectLock{Mode: LockOff}
	c.Storage.Audit.NoncurrentDays = 30
	c.Storage.CodeDocs.NoncurrentDays = 30
	c.Storage.Telemetry.ExpireDays = 90
	c.Storage.Telemetry.InfrequentAccessDays = 0
	c.Storage.Logs.ExpireDays = 90
	c.Storage.Logs.InfrequentAccessDays = 0
	c.Backups.Enabled = false
	c.WAF.Enabled = false
	return c
}

// DefaultGroup is the node group that a profile has for a role.
func DefaultGroup(p Profile, r Role) NodeGroup {
	g := NodeGroup{Role: r, DiskGiB: 100}
	size := func(types string, low, high int) {
		g.InstanceTypes = []string{types}
		g.Min, g.Desired, g.Max = low, low, high
	}
	production := p == Production
	switch {
	case r == GPU:
		size("p5e.48xlarge", 0, 1)
		g.Desired = 1
		g.DiskGiB = 500
	case r == Core && production:
		size("m7i.4xlarge", 3, 6)
	case r == Core:
		size("m7i.2xlarge", 2, 4)
	case production:
		size("m7i.xlarge", 3, 9)
	case r == WebAssistant:
		size("m7i.xlarge", 2, 4)
		g.Also = []Role{Interface}
	default:
		size("m7i.xlarge", 2, 4)
	}
	return g
}

// named is a bucket with its key below storage.
type named struct {
	Key    string
	Bucket *Bucket
}

func (s *Storage) buckets() []named {
	return []named{
		{"models", &s.Models},
		{"codeDocs", &s.CodeDocs},
		{"audit", &s.Audit},
		{"telemetry", &s.Telemetry},
		{"logs", &s.Logs},
	}
}

func roleNames() []string {
	return []string{string(Core), string(WebAssistant), string(Interface), string(GPU)}
}
