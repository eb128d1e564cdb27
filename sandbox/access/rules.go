package access

import (
	"maps"
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// rules are what the operations need. One that is missing needs its own name
// on "*": AWS lists no resource type for it, which a test holds.
var rules = sync.OnceValue(func() map[string]rule {
	out := map[string]rule{}
	for _, l := range []map[string]rule{
		certificates(), scaling(), backups(), stacks(), networks(), registries(), clusters(), balancers(), identities(),
		keys(), logging(), databases(), zones(), buckets(), secrets(), sessions(), topics(), parameters(), firewalls(), quotas(),
	} {
		maps.Copy(out, l)
	}
	return out
})

func certificates() map[string]rule {
	one := one("AWS::CertificateManager::Certificate", "CertificateArn")
	tag := tagging("acm:AddTagsToCertificate", one)
	return map[string]rule{
		"acm:DeleteCertificate":      {on: one},
		"acm:DescribeCertificate":    {on: one},
		"acm:ImportCertificate":      {on: one, also: tag},
		"acm:ListTagsForCertificate": {on: one},
		"acm:RequestCertificate":     {also: tag},
	}
}

func scaling() map[string]rule {
	group := one("AWS::AutoScaling::AutoScalingGroup", "AutoScalingGroupName")
	return map[string]rule{
		"autoscaling:SetDesiredCapacity":                  {on: group},
		"autoscaling:CreateAutoScalingGroup":              {on: group, also: passing("ServiceLinkedRoleARN", "autoscaling.amazonaws.com")},
		"autoscaling:DeleteAutoScalingGroup":              {on: group},
		"autoscaling:TerminateInstanceInAutoScalingGroup": {on: groupOfInstance},
		"autoscaling:UpdateAutoScalingGroup":              {on: group},
	}
}

// groupOfInstance is the group of an instance, where the request names no group.
func groupOfInstance(c *call) []target {
	const typ = "AWS::AutoScaling::AutoScalingGroup"
	if i := c.tx.Get("ec2:instance", c.r.String("InstanceId")); i != nil {
		for _, g := range c.tx.List(typ) {
			if ARN(c.tx, g) == i.Owner {
				return []target{{i.Owner, g}}
			}
		}
	}
	return []target{{arn: arnOf(c.tx, kinds[typ].iam, "*")}}
}

func backups() map[string]rule {
	vault, plan := one("AWS::Backup::BackupVault", "backupVaultName"), one("AWS::Backup::BackupPlan", "backupPlanId")
	point := byARN("recoveryPointArn", "backup:recovery-point")
	return map[string]rule{
		"backup:CreateBackupPlan": {on: newly("backup:backupPlan"), also: tagging("backup:TagResource", newly("backup:backupPlan"))},
		"backup:CreateBackupSelection": {on: plan, also: func(c *call) []Demand {
			return c.pass(props.Str(c.r.In, "BackupSelection", "IamRoleArn"), "backup.amazonaws.com")
		}},
		"backup:CreateBackupVault": {on: vault, also: tagging("backup:TagResource", vault)},
		"backup:DeleteBackupPlan":  {on: plan},
		"backup:StartBackupJob": {on: func(c *call) []target {
			return []target{find(c.tx, "AWS::Backup::BackupVault", c.r.String("BackupVaultName"))}
		}, also: passing("IamRoleArn", "backup.amazonaws.com")},
		"backup:DeleteBackupSelection":           {on: plan},
		"backup:DeleteBackupVault":               {on: vault},
		"backup:DeleteRecoveryPoint":             {on: point},
		"backup:DescribeBackupVault":             {on: vault},
		"backup:DescribeRecoveryPoint":           {on: point},
		"backup:GetBackupPlan":                   {on: plan},
		"backup:GetBackupSelection":              {on: plan},
		"backup:GetBackupVaultAccessPolicy":      {on: vault},
		"backup:ListBackupSelections":            {on: plan},
		"backup:ListRecoveryPointsByBackupVault": {on: vault},
		"backup:ListTags":                        {on: byARN("resourceArn", "AWS::Backup::BackupVault", "AWS::Backup::BackupPlan", "backup:recovery-point")},
		"backup:PutBackupVaultAccessPolicy":      {on: vault},
		"backup:UpdateBackupPlan":                {on: plan},
	}
}

// stacks: a stack is asked for by its ARN, or its name with any id.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/control-access-with-iam.html
func stacks() map[string]rule {
	stack := func(c *call) []target {
		if ref := c.r.String("StackName"); ref != "" {
			return []target{find(c.tx, "cloudformation:stack", ref)}
		}
		for _, p := range []struct{ name, typ string }{{"ChangeSetName", "cloudformation:changeset"}, {"PhysicalResourceId", ""}} {
			ref := c.r.String(p.name)
			if s := c.tx.Get(p.typ, ref); s != nil {
				return []target{find(c.tx, "cloudformation:stack", s.Owner)}
			}
		}
		return []target{{arn: arnOf(c.tx, "cloudformation:stack", "*")}}
	}
	role := passing("RoleARN", "cloudformation.amazonaws.com")
	if1 := sets(set("cloudformation:RoleArn", "RoleARN"), set("cloudformation:ResourceTypes", "ResourceTypes"), set("cloudformation:TemplateUrl", "TemplateURL"), set("cloudformation:StackPolicyUrl", "StackPolicyURL"))
	named := set("cloudformation:ChangeSetName", "ChangeSetName")
	out := map[string]rule{
		"cloudformation:CreateStack":      {on: stack, also: role, context: if1},
		"cloudformation:UpdateStack":      {on: stack, also: role, context: if1},
		"cloudformation:CreateChangeSet":  {on: stack, also: role, context: sets(if1, named)},
		"cloudformation:DeleteStack":      {on: stack, also: role, context: set("cloudformation:RoleArn", "RoleARN")},
		"cloudformation:DeleteChangeSet":  {on: stack, context: named},
		"cloudformation:ExecuteChangeSet": {on: stack, context: named},
		"cloudformation:SetStackPolicy":   {on: stack, context: set("cloudformation:StackPolicyUrl", "StackPolicyURL")},
		"cloudformation:GetTemplateSummary": {on: func(c *call) []target {
			return stack(c)
		}, context: set("cloudformation:TemplateUrl", "TemplateURL")},
		"cloudformation:ContinueUpdateRollback": {on: stack, also: role, context: set("cloudformation:RoleArn", "RoleARN")},
		"cloudformation:RollbackStack":          {on: stack, also: role, context: set("cloudformation:RoleArn", "RoleARN")},
		"cloudformation:DescribeChangeSet":      {on: stack, context: named},
	}
	for _, op := range []string{
		"CancelUpdateStack", "DescribeEvents", "DescribeStackEvents", "DescribeStackResource", "DescribeStackResourceDrifts", "DescribeStackResources",
		"DescribeStacks", "DetectStackDrift", "DetectStackResourceDrift", "GetStackPolicy", "GetTemplate", "ListChangeSets", "ListStackResources",
		"UpdateTerminationProtection",
	} {
		out["cloudformation:"+op] = rule{on: stack}
	}
	return out
}

func registries() map[string]rule {
	repo, repos := one("AWS::ECR::Repository", "repositoryName"), each("AWS::ECR::Repository", "repositoryNames")
	byARN := byARN("resourceArn", "AWS::ECR::Repository")
	out := map[string]rule{
		"ecr:BatchGetRepositoryScanningConfiguration": {on: repos},
		"ecr:DescribeRepositories":                    {on: repos},
		"ecr:CreateRepository":                        {on: repo, also: tagging("ecr:TagResource", repo)},
		"ecr:ListTagsForResource":                     {on: byARN},
		"ecr:TagResource":                             {on: byARN},
		"ecr:UntagResource":                           {on: byARN},
	}
	for _, op := range []string{
		"BatchCheckLayerAvailability", "BatchDeleteImage", "BatchGetImage", "CompleteLayerUpload", "DeleteRepository", "DescribeImages", "GetDownloadUrlForLayer", "GetLifecyclePolicy", "GetRepositoryPolicy",
		"InitiateLayerUpload", "ListImages", "PutImage", "PutImageScanningConfiguration", "PutImageTagMutability", "PutLifecyclePolicy", "SetRepositoryPolicy",
		"UploadLayerPart",
	} {
		out["ecr:"+op] = rule{on: repo}
	}
	return out
}

func clusters() map[string]rule {
	cluster := one("AWS::EKS::Cluster", "name")
	// part is a resource of a cluster, whose ARN ends in an id that only AWS
	// knows.
	part := func(typ, kind, parameter string) func(*call) []target {
		return func(c *call) []target {
			cluster, name := c.r.String("name"), c.r.String(parameter)
			for _, id := range []string{cluster + "/" + name, cluster + "|" + name, name + "|" + cluster} {
				if r := c.tx.Get(typ, id); r != nil {
					return []target{{ARN(c.tx, r), r}}
				}
			}
			return []target{{arn: c.tx.ARN("eks", kind+"/"+cluster+"/"+name+"/*")}}
		}
	}
	group, addon := part("AWS::EKS::Nodegroup", "nodegroup", "nodegroupName"), part("AWS::EKS::Addon", "addon", "addonName")
	// https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html
	newEntry := func(c *call) []target {
		parts := strings.SplitN(c.r.String("principalArn"), ":", 6)
		if len(parts) < 6 {
			parts = []string{"", "", "", "", "*", "*/*"}
		}
		kind, name, _ := strings.Cut(parts[5], "/")
		return []target{{arn: c.tx.ARN("eks", strings.Join([]string{"access-entry", c.r.String("name"), kind, parts[4], name[strings.LastIndexByte(name, '/')+1:], "*"}, "/"))}}
	}
	entry := func(c *call) []target {
		cluster, principal := c.r.String("name"), c.r.String("principalArn")
		for _, id := range []string{principal + "|" + cluster, cluster + "|" + principal} {
			if r := c.tx.Get("AWS::EKS::AccessEntry", id); r != nil {
				return []target{{ARN(c.tx, r), r}}
			}
		}
		return newEntry(c)
	}
	provider := func(c *call) []target {
		return []target{{arn: c.tx.ARN("eks", "identityproviderconfig/"+c.r.String("name")+"/oidc/"+props.Str(c.r.In["identityProviderConfig"], "name")+"/*")}}
	}
	made := named("eks:cluster", "name")
	// An update may be one of a part's.
	update := func(c *call) []target {
		out := cluster(c)
		if c.r.String("nodegroupName") != "" {
			out = append(out, group(c)...)
		}
		if c.r.String("addonName") != "" {
			out = append(out, addon(c)...)
		}
		return out
	}
	out := map[string]rule{
		"eks:CreateCluster": {
			also:    all(passing("roleArn", "eks.amazonaws.com"), tagging("eks:TagResource", made)),
			context: set("eks:kubernetesVersion", "version"),
		},
		"eks:CreateAccessEntry":                  {on: cluster, context: sets(set("eks:principalArn", "principalArn"), set("eks:kubernetesGroups", "kubernetesGroups"), set("eks:username", "username")), also: tagging("eks:TagResource", newEntry)},
		"eks:AssociateAccessPolicy":              {on: entry, context: sets(set("eks:policyArn", "policyArn"), set("eks:principalArn", "principalArn"))},
		"eks:DisassociateAccessPolicy":           {on: entry, context: sets(set("eks:policyArn", "policyArn"), set("eks:principalArn", "principalArn"))},
		"eks:DescribeAccessEntry":                {on: entry},
		"eks:UpdateAccessEntry":                  {on: entry},
		"eks:CreateAddon":                        {on: cluster, also: all(passing("serviceAccountRoleArn", "eks.amazonaws.com"), tagging("eks:TagResource", addon))},
		"eks:CreateNodegroup":                    {on: cluster, also: all(passing("nodeRole", "eks.amazonaws.com"), tagging("eks:TagResource", group))},
		"eks:UpdateNodegroupVersion":             {on: group},
		"eks:TagResource":                        {on: byARN("resourceArn", "AWS::EKS::Cluster")},
		"eks:UntagResource":                      {on: byARN("resourceArn", "AWS::EKS::Cluster")},
		"eks:DeleteAccessEntry":                  {on: entry},
		"eks:ListAssociatedAccessPolicies":       {on: entry},
		"eks:DescribeNodegroup":                  {on: group},
		"eks:DeleteNodegroup":                    {on: group},
		"eks:UpdateNodegroupConfig":              {on: group},
		"eks:DescribeAddon":                      {on: addon},
		"eks:DeleteAddon":                        {on: addon},
		"eks:UpdateAddon":                        {on: addon, also: passing("serviceAccountRoleArn", "eks.amazonaws.com")},
		"eks:DescribeIdentityProviderConfig":     {on: provider},
		"eks:DisassociateIdentityProviderConfig": {on: provider},
		"eks:DescribeUpdate":                     {on: update},
		"eks:ListUpdates":                        {on: update},
		"eks:UpdateClusterVersion":               {on: cluster, context: set("eks:kubernetesVersion", "version")},
		"eks:ListTagsForResource":                {on: byARN("resourceArn", "AWS::EKS::Cluster")},
	}
	for _, op := range []string{
		"AssociateEncryptionConfig", "AssociateIdentityProviderConfig", "DeleteCluster", "DescribeCluster", "DescribeInsight", "ListAccessEntries", "ListAddons", "ListIdentityProviderConfigs", "ListInsights", "ListNodegroups", "UpdateClusterConfig",
	} {
		out["eks:"+op] = rule{on: cluster}
	}
	return out
}

func balancers() map[string]rule {
	const p = "AWS::ElasticLoadBalancingV2::"
	balancer, listener := one(p+"LoadBalancer", "LoadBalancerArn"), one(p+"Listener", "ListenerArn")
	rules, group := one(p+"ListenerRule", "RuleArn"), one(p+"TargetGroup", "TargetGroupArn")
	const classic = "AWS::ElasticLoadBalancing::LoadBalancer"
	// Both APIs have these operations; the classic one names its load balancers.
	either := func(parameter string, v1, v2 func(*call) []target) func(*call) []target {
		return func(c *call) []target {
			if c.r.Has(parameter) {
				return v1(c)
			}
			return v2(c)
		}
	}
	tagged := either("LoadBalancerNames", each(classic, "LoadBalancerNames"), byARN("ResourceArns", p+"LoadBalancer", p+"Listener", p+"ListenerRule", p+"TargetGroup"))
	tags := func(under string) func(*call) []Demand {
		return func(c *call) []Demand {
			if len(c.tags) == 0 {
				return nil
			}
			return c.demand("elasticloadbalancing:AddTags", []target{{arn: arnOf(c.tx, under, "*")}}, "elasticloadbalancing:CreateAction", c.r.Operation)
		}
	}
	return map[string]rule{
		"elasticloadbalancing:AddTags":                      {on: tagged},
		"elasticloadbalancing:RemoveTags":                   {on: tagged},
		"elasticloadbalancing:CreateLoadBalancer":           {on: named("elasticloadbalancing:loadbalancer", "LoadBalancerName"), also: tags("elasticloadbalancing:loadbalancer")},
		"elasticloadbalancing:CreateListener":               {on: balancer, also: tags("elasticloadbalancing:listener/app")},
		"elasticloadbalancing:CreateRule":                   {on: listener, also: tags("elasticloadbalancing:listener-rule/app")},
		"elasticloadbalancing:DeleteListener":               {on: listener},
		"elasticloadbalancing:DeleteLoadBalancer":           {on: either("LoadBalancerName", one(classic, "LoadBalancerName"), balancer)},
		"elasticloadbalancing:DeleteRule":                   {on: rules},
		"elasticloadbalancing:DeleteTargetGroup":            {on: group},
		"elasticloadbalancing:DeregisterTargets":            {on: group},
		"elasticloadbalancing:ModifyListener":               {on: listener},
		"elasticloadbalancing:ModifyLoadBalancerAttributes": {on: balancer},
		"elasticloadbalancing:ModifyRule":                   {on: rules},
		"elasticloadbalancing:ModifyTargetGroup":            {on: group},
		"elasticloadbalancing:RegisterTargets":              {on: group},
		"elasticloadbalancing:SetSecurityGroups":            {on: balancer},
		"elasticloadbalancing:SetSubnets":                   {on: balancer},
	}
}

func logging() map[string]rule {
	group := one("AWS::Logs::LogGroup", "logGroupName")
	tagged := func(c *call) []target {
		arn := strings.TrimSuffix(c.r.String("resourceArn"), ":*")
		_, name, _ := strings.Cut(arn, ":log-group:")
		return []target{{arn, c.tx.Get("AWS::Logs::LogGroup", name)}}
	}
	out := map[string]rule{
		"logs:ListTagsForResource": {on: tagged},
		"logs:TagResource":         {on: tagged},
		"logs:UntagResource":       {on: tagged},
		"logs:CreateLogGroup": {on: group, also: tagging("logs:TagResource", func(c *call) []target {
			return []target{{arn: c.tx.ARN("logs", "log-group:"+c.r.String("logGroupName"))}}
		})},
	}
	for _, op := range []string{"AssociateKmsKey", "DeleteLogGroup", "DeleteRetentionPolicy", "DisassociateKmsKey", "PutLogGroupDeletionProtection", "PutRetentionPolicy"} {
		out["logs:"+op] = rule{on: group}
	}
	out["monitoring:DescribeAlarms"] = rule{on: each("AWS::CloudWatch::Alarm", "AlarmNames")}
	return out
}

func databases() map[string]rule {
	const p = "AWS::RDS::"
	db, snapshot := one(p+"DBInstance", "DBInstanceIdentifier"), one("rds:snapshot", "DBSnapshotIdentifier")
	group, parameters := one(p+"DBSubnetGroup", "DBSubnetGroupName"), one(p+"DBParameterGroup", "DBParameterGroupName")
	backup := func(c *call) []target {
		if c.r.String("DBInstanceIdentifier") != "" {
			return db(c)
		}
		return byARN("DBInstanceAutomatedBackupsArn", "rds:automated-backup")(c)
	}
	automated := func(c *call) []target {
		if c.r.String("DBInstanceAutomatedBackupsArn") != "" {
			return byARN("DBInstanceAutomatedBackupsArn", "rds:automated-backup")(c)
		}
		return newly("rds:auto-backup")(c)
	}
	tag := tagging("rds:AddTagsToResource", snapshot)
	// A new instance is asked for beside the groups that it is put into.
	// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/security_iam_service-with-iam.html
	given := func(on func(*call) []target, parameter string) func(*call) []target {
		return func(c *call) []target {
			if c.r.String(parameter) == "" {
				return nil
			}
			return on(c)
		}
	}
	instance := both(db, given(group, "DBSubnetGroupName"), given(parameters, "DBParameterGroupName"))
	made := all(tagging("rds:AddTagsToResource", db), passing("MonitoringRoleArn", "monitoring.rds.amazonaws.com"), func(c *call) []Demand {
		// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html#rds-secrets-manager-permissions
		if !c.r.Bool("ManageMasterUserPassword", false) {
			return nil
		}
		secret := []target{{arn: c.tx.ARN("secretsmanager", "secret:rds!db-*")}}
		return append(c.demands("secretsmanager:CreateSecret", secret), c.demands("secretsmanager:TagResource", secret)...)
	})
	tagged := byARN("ResourceName", p+"DBInstance", "rds:snapshot", p+"DBSubnetGroup", p+"DBParameterGroup")
	return map[string]rule{
		"rds:CreateDBInstance":                {on: instance, also: made},
		"rds:RestoreDBInstanceFromDBSnapshot": {on: both(instance, snapshot), also: made},
		"rds:CreateDBParameterGroup":          {on: parameters, also: tagging("rds:AddTagsToResource", parameters)},
		"rds:CreateDBSubnetGroup":             {on: group, also: tagging("rds:AddTagsToResource", group)},
		"rds:DeleteDBParameterGroup":          {on: parameters},
		"rds:DeleteDBSubnetGroup":             {on: group},
		"rds:RebootDBInstance":                {on: db},
		"rds:StartDBInstance":                 {on: db},
		"rds:StopDBInstance":                  {on: db},
		"rds:AddTagsToResource":               {on: tagged},
		"rds:RemoveTagsFromResource":          {on: tagged},
		"rds:CreateDBSnapshot":                {on: both(db, snapshot), also: tag},
		"rds:DeleteDBInstance": {on: db, also: func(c *call) []Demand {
			id := c.r.String("FinalDBSnapshotIdentifier")
			if id == "" {
				return nil
			}
			final := target{arn: arnOf(c.tx, "rds:snapshot", id)}
			return c.demands("rds:CreateDBSnapshot", append(db(c), final))
		}},
		"rds:ModifyDBInstance": {on: db, also: func(c *call) []Demand {
			return append(c.pass(c.r.String("MonitoringRoleArn"), "monitoring.rds.amazonaws.com"), c.pass(c.r.String("DomainIAMRoleName"), "rds.amazonaws.com")...)
		}},
		"rds:DeleteDBInstanceAutomatedBackup":    {on: automated},
		"rds:DescribeDBInstanceAutomatedBackups": {on: backup},
		"rds:DescribeDBInstances":                {on: db},
		"rds:DescribeDBParameterGroups":          {on: parameters},
		"rds:DescribeDBParameters":               {on: parameters},
		"rds:ModifyDBParameterGroup":             {on: parameters},
		"rds:DescribeDBSnapshotAttributes":       {on: snapshot},
		"rds:ModifyDBSnapshotAttribute":          {on: snapshot},
		"rds:DeleteDBSnapshot":                   {on: snapshot},
		"rds:DescribeDBSnapshots": {on: func(c *call) []target {
			if c.r.String("DBSnapshotIdentifier") == "" && c.r.String("DBInstanceIdentifier") != "" {
				return db(c)
			}
			return snapshot(c)
		}},
		"rds:DescribeDBSubnetGroups": {on: group},
		"rds:DescribeEvents":         {},
		"rds:ModifyDBSubnetGroup":    {on: group},
		"rds:ListTagsForResource":    {on: tagged},
	}
}

func zones() map[string]rule {
	zone := one("AWS::Route53::HostedZone", "Id")
	return map[string]rule{
		"route53:ChangeResourceRecordSets": {on: zone, context: records},
		"route53:DeleteHostedZone":         {on: zone},
		"route53:GetHostedZone":            {on: zone},
		"route53:ListResourceRecordSets":   {on: zone},
		"route53:ListTagsForResource":      {on: one("AWS::Route53::HostedZone", "ResourceId")},
		"route53:GetChange": {on: func(c *call) []target {
			id := c.r.String("Id")
			return []target{{arn: "arn:" + c.tx.Partition() + ":route53:::change/" + id[strings.LastIndexByte(id, '/')+1:]}}
		}},
	}
}

// records are the condition keys of a change of records.
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-rrset-conditions.html
func records(c *call, ctx map[string][]string) {
	var names, types, actions []string
	add := func(l *[]string, v string) {
		for _, x := range *l {
			if x == v {
				return
			}
		}
		*l = append(*l, v)
	}
	for _, change := range props.Maps(c.r.In, "ChangeBatch", "Changes", "Change") {
		set := props.Map(change, "ResourceRecordSet")
		add(&names, strings.ToLower(strings.TrimSuffix(props.Str(set["Name"]), ".")))
		add(&types, props.Str(set["Type"]))
		add(&actions, props.Str(change["Action"]))
	}
	if len(names) > 0 {
		ctx["route53:ChangeResourceRecordSetsNormalizedRecordNames"] = names
		ctx["route53:ChangeResourceRecordSetsRecordTypes"] = types
		ctx["route53:ChangeResourceRecordSetsActions"] = actions
	}
}

func secrets() map[string]rule {
	secret, made := one("AWS::SecretsManager::Secret", "SecretId"), named("secretsmanager:Secret", "Name")
	key := func(c *call) string {
		if k := c.r.String("KmsKeyId"); k != "" {
			return k
		}
		for _, t := range secret(c) {
			if t.res != nil {
				return props.Str(t.res.Props["KmsKeyId"])
			}
		}
		return ""
	}
	// https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
	through := func(c *call, on func(*call) []target, actions ...string) []Demand {
		out := c.through("secretsmanager", key(c), actions...)
		for _, t := range on(c) {
			out = within(out, "SecretARN", t.arn)
		}
		return out
	}
	opens := func(c *call) []Demand { return through(c, secret, "kms:Decrypt") }
	writes := func(c *call) []Demand {
		if c.r.Operation == "CreateSecret" {
			return through(c, made, "kms:GenerateDataKey", "kms:Decrypt")
		}
		return through(c, secret, "kms:GenerateDataKey", "kms:Decrypt")
	}
	name := set("secretsmanager:Name", "Name")
	out := map[string]rule{
		"secretsmanager:CreateSecret":      {on: made, context: name, also: all(tagging("secretsmanager:TagResource", made), writes)},
		"secretsmanager:GetSecretValue":    {on: secret, also: opens, context: set("secretsmanager:VersionStage", "VersionStage")},
		"secretsmanager:PutSecretValue":    {on: secret, also: writes},
		"secretsmanager:UpdateSecret":      {on: secret, also: writes},
		"secretsmanager:GetRandomPassword": {},
	}
	for _, op := range []string{"DeleteResourcePolicy", "DeleteSecret", "DescribeSecret", "GetResourcePolicy", "PutResourcePolicy", "RestoreSecret", "TagResource", "UntagResource", "ListSecretVersionIds", "RotateSecret", "UpdateSecretVersionStage"} {
		out["secretsmanager:"+op] = rule{on: secret}
	}
	return out
}

func topics() map[string]rule {
	topic := one("AWS::SNS::Topic", "TopicArn")
	return map[string]rule{
		"sns:GetTopicAttributes":  {on: topic},
		"sns:SetTopicAttributes":  {on: topic},
		"sns:ListTagsForResource": {on: one("AWS::SNS::Topic", "ResourceArn")},
	}
}

func parameters() map[string]rule {
	// A name may carry a version or a label.
	named := func(ref string, c *call) target {
		name := ref
		if !strings.HasPrefix(ref, "arn:") {
			name, _, _ = strings.Cut(ref, ":")
		}
		return find(c.tx, "AWS::SSM::Parameter", name)
	}
	name := func(c *call) []target { return []target{named(c.r.String("Name"), c)} }
	names := func(c *call) []target {
		var out []target
		for _, n := range c.r.Strings("Names") {
			out = append(out, named(n, c))
		}
		if len(out) == 0 {
			out = append(out, target{arn: arnOf(c.tx, "ssm:parameter", "*")})
		}
		return out
	}
	// https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html
	opens := func(on func(*call) []target) func(*call) []Demand {
		return func(c *call) []Demand {
			if !c.r.Bool("WithDecryption", false) {
				return nil
			}
			var out []Demand
			for _, t := range on(c) {
				if t.res != nil && props.Str(t.res.Props["Type"]) == "SecureString" {
					out = append(out, within(c.through("ssm", props.Str(t.res.Props["KeyId"]), "kms:Decrypt"), "PARAMETER_ARN", t.arn)...)
				}
			}
			return out
		}
	}
	tagged := func(c *call) []target {
		id := c.r.String("ResourceId")
		if c.r.String("ResourceType") == "Parameter" {
			return []target{find(c.tx, "AWS::SSM::Parameter", id)}
		}
		return []target{{arn: c.tx.ARN("ssm", strings.ToLower(c.r.String("ResourceType"))+"/"+id)}}
	}
	return map[string]rule{
		"ssm:DeleteParameter":  {on: name},
		"ssm:DeleteParameters": {on: names},
		"ssm:GetParameter":     {on: name, also: opens(name)},
		"ssm:GetParameters":    {on: names, also: opens(names)},
		"ssm:PutParameter": {on: name, context: set("ssm:Overwrite", "Overwrite"), also: all(tagging("ssm:AddTagsToResource", name), func(c *call) []Demand {
			// What a new version doesn't say is as it was.
			is := func(parameter string) string {
				if t := name(c)[0]; c.r.String(parameter) == "" && t.res != nil {
					return props.Str(t.res.Props[parameter])
				}
				return c.r.String(parameter)
			}
			if is("Type") != "SecureString" {
				return nil
			}
			action := "kms:Encrypt"
			if is("Tier") == "Advanced" {
				action = "kms:GenerateDataKey"
			}
			return within(c.through("ssm", is("KeyId"), action), "PARAMETER_ARN", name(c)[0].arn)
		})},
		"ssm:GetParametersByPath": {on: func(c *call) []target {
			return []target{{arn: arnOf(c.tx, "ssm:parameter", strings.TrimSuffix(c.r.String("Path"), "/"))}}
		}, context: set("ssm:Recursive", "Recursive")},
		"ssm:AddTagsToResource":      {on: tagged},
		"ssm:RemoveTagsFromResource": {on: tagged},
		"ssm:ListTagsForResource":    {on: tagged},
		"ssm:GetConnectionStatus":    {on: one("ec2:instance", "Target")},
		"ssm:StartSession": {on: both(one("ec2:instance", "Target"), func(c *call) []target {
			name := c.r.String("DocumentName")
			if name == "" {
				name = "SSM-SessionManagerRunShell"
			}
			account := c.tx.AccountID()
			if strings.HasPrefix(name, "AWS-") {
				account = ""
			}
			return []target{{arn: "arn:" + c.tx.Partition() + ":ssm:" + c.tx.Region() + ":" + account + ":document/" + name}}
		})},
		"ssm:TerminateSession": {on: func(c *call) []target {
			id := c.r.String("SessionId")
			return []target{{c.tx.ARN("ssm", "session/"+id), c.tx.Get("ssm:session", id)}}
		}},
	}
}

func firewalls() map[string]rule {
	const acls, sets = "AWS::WAFv2::WebACL", "AWS::WAFv2::IPSet"
	item := func(typ, kind string) func(*call) []target {
		return func(c *call) []target {
			if arn := c.r.String("ARN"); arn != "" {
				return byARN("ARN", typ)(c)
			}
			id := strings.Join([]string{c.r.String("Name"), c.r.String("Id"), c.r.String("Scope")}, "|")
			if r := c.tx.Get(typ, id); r != nil {
				return []target{{ARN(c.tx, r), r}}
			}
			return []target{{arn: c.tx.ARN("wafv2", "regional/"+kind+"/"+c.r.String("Name")+"/"+c.r.String("Id"))}}
		}
	}
	arn := func(parameter string) func(*call) []target {
		return func(c *call) []target {
			ref := c.r.String(parameter)
			for _, typ := range []string{acls, sets} {
				if l := c.tx.Where(typ, "access:arn", func(r *account.Resource) string { return props.Str(r.Attrs["Arn"]) }, ref); len(l) > 0 {
					return []target{{ref, l[0]}}
				}
			}
			return []target{{arn: ref}}
		}
	}
	// What a web ACL protects is asked for beside it.
	protected := byARN("ResourceArn", "AWS::ElasticLoadBalancingV2::LoadBalancer")
	attached := func(c *call) []target {
		if l := c.tx.Where("AWS::WAFv2::WebACLAssociation", "access:resource", func(r *account.Resource) string { return props.Str(r.Props["ResourceArn"]) }, c.r.String("ResourceArn")); len(l) > 0 {
			return []target{{arn: props.Str(l[0].Props["WebACLArn"])}}
		}
		return []target{{arn: arnOf(c.tx, "wafv2:webacl", "*")}}
	}
	logging := func(c *call) []target {
		if cfg := c.r.Map("LoggingConfiguration"); cfg != nil {
			return []target{{arn: props.Str(cfg["ResourceArn"])}}
		}
		return arn("ResourceArn")(c)
	}
	return map[string]rule{
		"wafv2:AssociateWebACL":            {on: both(arn("WebACLArn"), protected)},
		"wafv2:DisassociateWebACL":         {on: protected},
		"wafv2:GetWebACLForResource":       {on: both(attached, protected)},
		"wafv2:ListResourcesForWebACL":     {on: arn("WebACLArn")},
		"wafv2:GetWebACL":                  {on: item(acls, "webacl")},
		"wafv2:UpdateWebACL":               {on: item(acls, "webacl")},
		"wafv2:GetIPSet":                   {on: item(sets, "ipset")},
		"wafv2:GetLoggingConfiguration":    {on: logging},
		"wafv2:PutLoggingConfiguration":    {on: logging},
		"wafv2:DeleteLoggingConfiguration": {on: logging},
		"wafv2:ListTagsForResource":        {on: arn("ResourceARN")},
		"wafv2:TagResource":                {on: arn("ResourceARN")},
		"wafv2:UntagResource":              {on: arn("ResourceARN")},
	}
}

func quotas() map[string]rule {
	return map[string]rule{
		"servicequotas:GetServiceQuota": {on: func(c *call) []target {
			return []target{{arn: c.tx.ARN("servicequotas", c.r.String("ServiceCode")+"/"+c.r.String("QuotaCode"))}}
		}},
	}
}
