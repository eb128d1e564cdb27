package rds

import (
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// notModelled are properties that ask for what this package doesn't have.
var notModelled = []string{
	"AdditionalStorageVolumes", "AssociatedRoles", "AutomaticBackupReplicationRegion", "BackupTarget", "CharacterSetName", "CustomIAMInstanceProfile",
	"DBClusterIdentifier", "DBClusterSnapshotIdentifier", "DBSecurityGroups", "DBSystemId", "Domain", "DomainDnsIps", "DomainFqdn", "DomainOu",
	"NcharCharacterSetName", "ProcessorFeatures", "ReplicaMode", "RestoreTime", "SourceDBClusterIdentifier", "SourceDBInstanceAutomatedBackupsArn",
	"SourceDBInstanceIdentifier", "SourceDbiResourceId", "TdeCredentialArn", "Timezone",
}

// checkInstance checks what holds for the instance id at any time; version is
// its engine's.
func checkInstance(tx *account.Tx, id string, p map[string]any, version string) error {
	for _, k := range notModelled {
		if props.Has(p, k) && props.Str(p, k) != "" || len(props.List(p, k)) > 0 {
			return account.NotModelled("%s is not modelled by the sandbox", k)
		}
	}
	if e := props.Str(p, "Engine"); e != "" && !strings.EqualFold(e, "postgres") {
		return account.NotModelled("DB engine %s is not modelled by the sandbox", e)
	}
	class := props.Str(p, "DBInstanceClass")
	switch {
	case class == "":
		return account.Errorf("MissingParameter", "The request must contain the parameter DBInstanceClass")
	case !knownClass(class):
		return value("Invalid DB Instance class: %s", class)
	}
	if t := props.Str(p, "NetworkType"); t != "" && !strings.EqualFold(t, "IPV4") {
		return account.NotModelled("NetworkType %s is not modelled by the sandbox", t)
	}
	for _, check := range []func(*account.Tx, map[string]any) error{checkStorage, checkBackups, checkLogs, checkPlace} {
		if err := check(tx, p); err != nil {
			return err
		}
	}
	if err := checkMonitoring(tx, id, p); err != nil {
		return err
	}
	return checkParameterGroup(tx, props.Str(p, "DBParameterGroupName"), version)
}

func checkStorage(_ *account.Tx, p map[string]any) error {
	kind := strings.ToLower(props.Str(p, "StorageType"))
	iops, throughput := props.Int(p, 0, "Iops"), props.Int(p, 0, "StorageThroughput")
	if kind == "" {
		kind = "gp2"
		if iops > 0 {
			kind = "io1"
		}
	}
	s, ok := storages[kind]
	if !ok {
		return value("Invalid storage type: %s", kind)
	}
	size := props.Int(p, 0, "AllocatedStorage")
	if size == 0 && props.Has(p, "DBSnapshotIdentifier") {
		size = s.size[0] // the snapshot's size, which was checked already
	}
	if size == 0 {
		return value("Invalid storage size for engine name postgres and storage type %s: the parameter AllocatedStorage must be provided", kind)
	}
	if size < s.size[0] || size > s.size[1] {
		return value("Invalid storage size for engine name postgres and storage type %s: %d", kind, size)
	}
	if limit := props.Int(p, 0, "MaxAllocatedStorage"); limit != 0 && limit <= size {
		return combination("Max storage size must be greater than storage size")
	}
	if throughput > 0 && kind != "gp3" {
		return combination("You can't specify storage throughput for storage type %s.", kind)
	}
	if iops > 0 && kind == "gp2" {
		return combination("You can't specify IOPS for storage type gp2.")
	}
	if kind == "gp3" && size < striped && (iops > 0 || throughput > 0) {
		return combination("You can't specify IOPS or storage throughput for engine postgres and a storage size less than %d.", striped)
	}
	if s.provision && iops == 0 {
		return combination("The parameter Iops must be provided and must not be blank for storage type %s.", kind)
	}
	if iops > 0 && (iops < s.iops[0] || iops > s.iops[1] || iops > 500*size) {
		return value("Invalid iops value for engine name postgres and storage type %s: %d", kind, iops)
	}
	if throughput > 0 {
		if throughput < s.throughput[0] || throughput > s.throughput[1] {
			return value("Invalid storage throughput value for engine name postgres and storage type gp3: %d", throughput)
		}
		if 4*throughput > max(iops, s.iops[0]) {
			return combination("The storage throughput to IOPS ratio must not exceed 0.25")
		}
	}
	return nil
}

func checkBackups(_ *account.Tx, p map[string]any) error {
	days := props.Int(p, 1, "BackupRetentionPeriod")
	if days < 0 || days > 35 {
		return value("Invalid backup retention period: %d. Retention period must be between 0 and 35.", days)
	}
	backup, maintenance := props.Str(p, "PreferredBackupWindow"), props.Str(p, "PreferredMaintenanceWindow")
	var b, m window
	var err error
	if backup != "" {
		if b, err = readWindow(backup, false); err != nil {
			return err
		}
	}
	if maintenance != "" {
		if m, err = readWindow(maintenance, true); err != nil {
			return err
		}
	}
	if backup != "" && maintenance != "" && b.overlaps(m) {
		return value("The backup window and maintenance window must not overlap.")
	}
	return nil
}

// window is a time of day, or of the week if day is true, in minutes.
type window struct{ start, length int }

var days = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

const minutesADay = 24 * 60

// readWindow reads "03:00-04:00", or "sun:04:00-sun:05:00" with weekdays.
func readWindow(s string, weekly bool) (window, error) {
	what, form, cycle := "backup", "hh24:mi-hh24:mi", minutesADay
	if weekly {
		what, form, cycle = "maintenance", "ddd:hh24:mi-ddd:hh24:mi", 7*minutesADay
	}
	from, to, ok := strings.Cut(strings.ToLower(s), "-")
	start, end := minute(from, weekly), minute(to, weekly)
	if !ok || start < 0 || end < 0 {
		return window{}, value("Invalid %s window format: %s. Should be specified as a range %s (24H Clock UTC).", what, s, form)
	}
	w := window{start, (end - start + cycle) % cycle}
	if w.length < 30 {
		return window{}, value("The %s window must be at least 30 minutes.", what)
	}
	if w.length >= minutesADay {
		return window{}, value("Maintenance window must be less than 24 hours.")
	}
	return w, nil
}

// minute is a point of the day or week, or -1 if the text is none.
func minute(s string, weekly bool) int {
	day := 0
	if weekly {
		name, rest, _ := strings.Cut(s, ":")
		if day = slices.Index(days, name); day < 0 {
			return -1
		}
		s = rest
	}
	hh, mm, _ := strings.Cut(s, ":")
	h, err1 := strconv.Atoi(hh)
	m, err2 := strconv.Atoi(mm)
	if len(s) != 5 || err1 != nil || err2 != nil || h > 23 || m > 59 || h < 0 || m < 0 {
		return -1
	}
	return day*minutesADay + h*60 + m
}

// overlaps tells whether a daily window meets a weekly one.
func (w window) overlaps(weekly window) bool {
	for day := -1; day <= 7; day++ {
		start := day*minutesADay + w.start
		for _, shift := range []int{0, 7 * minutesADay} {
			s := weekly.start - shift
			if start < s+weekly.length && s < start+w.length {
				return true
			}
		}
	}
	return false
}

func checkMonitoring(tx *account.Tx, id string, p map[string]any) error {
	interval, arn := props.Int(p, 0, "MonitoringInterval"), props.Str(p, "MonitoringRoleArn")
	switch {
	case !slices.Contains([]int{0, 1, 5, 10, 15, 30, 60}, interval):
		return value("Invalid value of MonitoringInterval: %d. Valid values are 0, 1, 5, 10, 15, 30, 60", interval)
	case interval > 0 && arn == "":
		return combination("A MonitoringRoleARN value is required if you specify a MonitoringInterval value other than 0.")
	case interval == 0 && arn != "":
		return combination("You can't specify a MonitoringRoleARN value without a MonitoringInterval value other than 0.")
	case interval > 0 && !monitors(tx, arn, id):
		return value("IAM role ARN value is invalid or does not include the required permissions for: ENHANCED_MONITORING")
	}
	insights := props.Bool(p, false, "EnablePerformanceInsights")
	retention := props.Int(p, 0, "PerformanceInsightsRetentionPeriod")
	switch {
	case !insights && (retention > 0 || props.Str(p, "PerformanceInsightsKMSKeyId") != ""):
		return combination("To enable Performance Insights, EnablePerformanceInsights must be set to 'true'.")
	case retention != 0 && retention != 7 && retention != 731 && (retention%31 != 0 || retention > 23*31):
		return value("Invalid Performance Insights retention period. Valid values are: [7, 31, 62, 93, 124, 155, 186, 217, 248, 279, 310, 341, 372, 403, 434, 465, 496, 527, 558, 589, 620, 651, 682, 713, 731]")
	case props.Str(p, "DatabaseInsightsMode") == "advanced" && (!insights || retention < 31):
		return combination("You can't enable the Advanced mode of Database Insights until you enable Performance Insights and set the retention period for Performance Insights to at least 31 days.")
	}
	return checkKey(tx, props.Str(p, "PerformanceInsightsKMSKeyId"))
}

// logTypes are the logs of PostgreSQL that can go to CloudWatch Logs.
var logTypes = []string{"postgresql", "upgrade", "iam-db-auth-error"}

func checkLogs(_ *account.Tx, p map[string]any) error {
	for _, l := range props.Strs(p, "EnableCloudwatchLogsExports") {
		if !slices.Contains(logTypes, l) {
			return combination("You cannot use the log types '%s' with engine version postgres %s. For supported log types, see the documentation.", l, resolve(props.Str(p, "EngineVersion")))
		}
	}
	return nil
}

// checkPlace checks the network and the zone.
func checkPlace(tx *account.Tx, p map[string]any) error {
	multi, zone := props.Bool(p, false, "MultiAZ"), props.Str(p, "AvailabilityZone")
	if multi && zone != "" {
		return combination("Requesting a specific availability zone is not valid for Multi-AZ instances.")
	}
	group := strings.ToLower(props.Str(p, "DBSubnetGroupName"))
	if group == "" {
		return account.NotModelled("A DB instance without a DB subnet group is not modelled by the sandbox")
	}
	g := tx.Get(TypeSubnetGroup, group)
	if g == nil {
		return missing("DBSubnetGroupNotFoundFault", "DB subnet group '%s' does not exist.", group)
	}
	if zone != "" && groupSubnet(tx, g, zone) == "" {
		return account.Errorf("InvalidVPCNetworkStateFault", "The DB subnet group %s doesn't cover the Availability Zone %s", group, zone)
	}
	groups := props.Strs(p, "VPCSecurityGroups")
	for _, id := range groups {
		sg, err := ec2.FindSecurityGroup(tx, id)
		if err != nil {
			return value("Invalid security group , groupId= %s, groupName=.", id)
		}
		if ec2.VPCOf(sg) != props.Str(g.Data, "vpc") {
			return combination("The DB instance and EC2 security group are in different VPCs. The DB instance is in %s and the EC2 security group is in %s", props.Str(g.Data, "vpc"), ec2.VPCOf(sg))
		}
	}
	return nil
}

// groupSubnet is the group's first subnet in a zone, or "".
func groupSubnet(tx *account.Tx, g *account.Resource, zone string) string {
	for _, id := range props.Strs(g.Props, "SubnetIds") {
		if s, err := ec2.FindSubnet(tx, id); err == nil && ec2.ZoneOf(s).Name == zone {
			return id
		}
	}
	return ""
}

// groupZones are the zones that a subnet group covers, in order.
func groupZones(tx *account.Tx, g *account.Resource) []string {
	var zones []string
	for _, id := range props.Strs(g.Props, "SubnetIds") {
		if s, err := ec2.FindSubnet(tx, id); err == nil {
			zones = append(zones, ec2.ZoneOf(s).Name)
		}
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

// checkKey wants a KMS key that RDS may use for the caller; "" stands for AWS's
// own.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Overview.Encryption.Keys.html
func checkKey(tx *account.Tx, key string) error {
	if key == "" {
		return nil
	}
	via := map[string]string{"kms:ViaService": "rds." + tx.Region() + ".amazonaws.com", "kms:GrantIsForAWSResource": "true"}
	if _, err := kms.Usable(tx, key, "", via, "kms:DescribeKey", "kms:CreateGrant"); err != nil {
		return account.Errorf("KMSKeyNotAccessibleFault", "The specified KMS key [%s] does not exist, is not enabled or you do not have permissions to access it.", key)
	}
	return nil
}

// keyARN is the ARN of a key that was checked.
func keyARN(tx *account.Tx, key string) string {
	if k, err := kms.Lookup(tx, key); err == nil {
		return kms.ARN(k)
	}
	return key
}

// checkMaster checks the first user and database of a new instance.
func checkMaster(p map[string]any) error {
	user, password := props.Str(p, "MasterUsername"), props.Str(p, "MasterUserPassword")
	managed := props.Bool(p, false, "ManageMasterUserPassword")
	switch {
	case user == "":
		return value("The parameter MasterUsername must be provided and must not be blank.")
	case slices.Contains([]string{"admin", "rdsadmin", "rds_superuser", "rdsrepladmin"}, strings.ToLower(user)):
		return value("MasterUsername %s cannot be used as it is a reserved word used by the engine", user)
	case len(user) > 63 || !identifier(strings.ReplaceAll(user, "_", "x")):
		return value("The parameter MasterUsername must begin with a letter and contain 1 to 63 letters, digits and underscores.")
	case managed && password != "":
		return combination("You can't specify MasterUserPassword while ManageMasterUserPassword is true.")
	case !managed && password == "":
		return combination("The parameter MasterUserPassword must be provided and must not be blank.")
	case !managed && (len(password) < 8 || len(password) > 128):
		return value("The parameter MasterUserPassword is not a valid password because it is shorter than 8 characters or longer than 128.")
	case strings.ContainsAny(password, "/@\" "):
		return value("The parameter MasterUserPassword is not a valid password. Only printable ASCII characters besides '/', '@', '\"', ' ' may be used.")
	}
	name := props.Str(p, "DBName")
	if name != "" && (!identifier(strings.ReplaceAll(name, "_", "x")) || strings.Contains(name, "-")) {
		return value("DBName must begin with a letter and contain only alphanumeric characters.")
	}
	if strings.EqualFold(name, "db") {
		return value("DBName %s cannot be used. It is a reserved word for this engine", name)
	}
	return nil
}

// monitors tells whether RDS monitoring may assume a role, for any instance of
// the account: its policy may pin the account or the instance.
func monitors(tx *account.Tx, arn, instance string) bool {
	return iam.Trusts(tx, iam.RoleByARN(tx, arn), "monitoring.rds.amazonaws.com", tx.ARN("rds", "db:"+instance))
}
