package rds

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// minors are the minor versions of PostgreSQL that RDS has, by major version,
// from the first to the last.
// https://docs.aws.amazon.com/AmazonRDS/latest/PostgreSQLReleaseNotes/postgresql-release-calendar.html
var minors = map[int][2]int{13: {20, 23}, 14: {15, 22}, 15: {10, 17}, 16: {6, 13}, 17: {2, 9}, 18: {1, 4}}

const defaultMajor = 17

// resolve completes an engine version: "17" is the last 17. It is "" for one
// that RDS doesn't have.
func resolve(version string) string {
	if version == "" {
		version = strconv.Itoa(defaultMajor)
	}
	major, minor, exact := strings.Cut(version, ".")
	m, err := strconv.Atoi(major)
	between, ok := minors[m]
	if err != nil || !ok {
		return ""
	}
	if !exact {
		return fmt.Sprintf("%d.%d", m, between[1])
	}
	if n, err := strconv.Atoi(minor); err != nil || n < between[0] || n > between[1] {
		return ""
	}
	return version
}

// number makes versions comparable: 17.4 is 17004.
func number(version string) int {
	major, minor, _ := strings.Cut(version, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	return a*1000 + b
}

// family is the parameter group family of a version.
func family(version string) string {
	major, _, _ := strings.Cut(version, ".")
	return "postgres" + major
}

func knownFamily(name string) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "postgres"))
	_, ok := minors[n]
	return err == nil && ok && strings.HasPrefix(name, "postgres")
}

// engineVersions lists all versions in order.
func engineVersions() []string {
	var out []string
	for m, between := range minors {
		for n := between[0]; n <= between[1]; n++ {
			out = append(out, fmt.Sprintf("%d.%d", m, n))
		}
	}
	slices.SortFunc(out, func(a, b string) int { return number(a) - number(b) })
	return out
}

// classes are the sizes of the instance classes for PostgreSQL, by family.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.DBInstanceClass.Support.html
var classes = map[string]string{
	"t3":   "micro small medium large xlarge 2xlarge",
	"t4g":  "micro small medium large xlarge 2xlarge",
	"m5":   "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge",
	"m5d":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge",
	"m6g":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge",
	"m6gd": "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge",
	"m6i":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge",
	"m6id": "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge",
	"m7g":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge",
	"m7i":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge",
	"m8g":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge",
	"r5":   "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge",
	"r5b":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge",
	"r6g":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge",
	"r6gd": "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge",
	"r6i":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge",
	"r7g":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge",
	"r7i":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge",
	"r8g":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge",
	"x2g":  "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge",
}

func knownClass(class string) bool {
	parts := strings.Split(class, ".")
	return len(parts) == 3 && parts[0] == "db" && slices.Contains(strings.Fields(classes[parts[1]]), parts[2])
}

// storage is what a type of storage allows, in GiB, IOPS and MiB/s.
type storage struct {
	size       [2]int
	iops       [2]int
	provision  bool // IOPS must be given
	throughput [2]int
}

// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Storage.html
var storages = map[string]storage{
	"gp2": {size: [2]int{20, 65536}},
	"gp3": {size: [2]int{20, 65536}, iops: [2]int{12000, 64000}, throughput: [2]int{500, 4000}},
	"io1": {size: [2]int{100, 65536}, iops: [2]int{1000, 256000}, provision: true},
	"io2": {size: [2]int{100, 65536}, iops: [2]int{1000, 256000}, provision: true},
}

// striped is the size in GiB from which gp3 volumes are striped and their
// performance can be chosen.
const striped = 400

// parameter is one of PostgreSQL's: what values it takes, and whether a change
// needs a restart.
type parameter struct {
	allowed string // "0,1", "1440-10080", "" for any text
	static  bool
	value   string // of the engine
}

// parameters are the ones that can be changed on RDS and that people do
// change. A name that isn't listed is refused.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Appendix.PostgreSQL.CommonDBATasks.Parameters.html
var parameters = map[string]parameter{
	"application_name":                       {},
	"auto_explain.log_min_duration":          {allowed: "-1-2147483647"},
	"autovacuum":                             {allowed: "0,1", value: "1"},
	"autovacuum_analyze_scale_factor":        {allowed: "0-100"},
	"autovacuum_max_workers":                 {allowed: "1-262143", static: true},
	"autovacuum_naptime":                     {allowed: "1-2147483"},
	"autovacuum_vacuum_cost_limit":           {allowed: "-1-10000"},
	"autovacuum_vacuum_scale_factor":         {allowed: "0-100"},
	"autovacuum_vacuum_threshold":            {allowed: "0-2147483647"},
	"checkpoint_completion_target":           {allowed: "0-1"},
	"checkpoint_timeout":                     {allowed: "30-3600"},
	"client_encoding":                        {},
	"client_min_messages":                    {allowed: "debug5,debug4,debug3,debug2,debug1,log,notice,warning,error"},
	"deadlock_timeout":                       {allowed: "1-2147483647"},
	"default_statistics_target":              {allowed: "1-10000"},
	"default_transaction_isolation":          {allowed: "serializable,repeatable read,read committed,read uncommitted"},
	"effective_cache_size":                   {allowed: "1-2147483647"},
	"effective_io_concurrency":               {allowed: "0-1000"},
	"huge_pages":                             {allowed: "on,off,try", static: true},
	"idle_in_transaction_session_timeout":    {allowed: "0-2147483647"},
	"idle_session_timeout":                   {allowed: "0-2147483647"},
	"jit":                                    {allowed: "0,1"},
	"lock_timeout":                           {allowed: "0-2147483647"},
	"log_autovacuum_min_duration":            {allowed: "-1-2147483647"},
	"log_checkpoints":                        {allowed: "0,1"},
	"log_connections":                        {}, // a list since PostgreSQL 18
	"log_disconnections":                     {allowed: "0,1"},
	"log_duration":                           {allowed: "0,1"},
	"log_error_verbosity":                    {allowed: "terse,default,verbose"},
	"log_hostname":                           {allowed: "0,1"},
	"log_lock_waits":                         {allowed: "0,1"},
	"log_min_duration_statement":             {allowed: "-1-2147483647"},
	"log_min_error_statement":                {allowed: "debug5,debug4,debug3,debug2,debug1,info,notice,warning,error,log,fatal,panic"},
	"log_min_messages":                       {allowed: "debug5,debug4,debug3,debug2,debug1,info,notice,warning,error,log,fatal,panic"},
	"log_rotation_age":                       {allowed: "1-1440"},
	"log_rotation_size":                      {allowed: "50000-1000000"},
	"log_statement":                          {allowed: "none,ddl,mod,all"},
	"log_temp_files":                         {allowed: "-1-2147483647"},
	"maintenance_work_mem":                   {allowed: "1024-2147483647"},
	"max_connections":                        {allowed: "6-262143", static: true},
	"max_locks_per_transaction":              {allowed: "10-2147483647", static: true},
	"max_parallel_workers":                   {allowed: "0-1024"},
	"max_parallel_workers_per_gather":        {allowed: "0-1024"},
	"max_replication_slots":                  {allowed: "5-262143", static: true},
	"max_slot_wal_keep_size":                 {allowed: "-1-2147483647"},
	"max_wal_senders":                        {allowed: "5-262143", static: true},
	"max_wal_size":                           {allowed: "128-201326592"},
	"max_worker_processes":                   {allowed: "8-262143", static: true},
	"min_wal_size":                           {allowed: "128-201326592"},
	"password_encryption":                    {allowed: "md5,scram-sha-256"},
	"pg_stat_statements.max":                 {allowed: "100-2147483647", static: true},
	"pg_stat_statements.track":               {allowed: "none,top,all"},
	"pgaudit.log":                            {},
	"pgaudit.role":                           {allowed: "rds_pgaudit"},
	"random_page_cost":                       {allowed: "0-2147483647"},
	"rds.accepted_password_auth_method":      {allowed: "md5+scram,scram"},
	"rds.extensions":                         {},
	"rds.force_admin_logging_level":          {allowed: "disabled,debug5,debug4,debug3,debug2,debug1,log,info,notice,warning,error,fatal,panic"},
	"rds.force_autovacuum_logging_level":     {allowed: "disabled,debug5,debug4,debug3,debug2,debug1,log,info,notice,warning,error,fatal,panic"},
	"rds.force_ssl":                          {allowed: "0,1", value: "1"},
	"rds.log_retention_period":               {allowed: "1440-10080", value: "4320"},
	"rds.logical_replication":                {allowed: "0,1", static: true},
	"rds.rds_superuser_reserved_connections": {allowed: "0-262143", static: true},
	"rds.restrict_password_commands":         {allowed: "0,1", static: true},
	"shared_buffers":                         {allowed: "16-1073741823", static: true},
	"shared_preload_libraries":               {static: true, value: "pg_stat_statements"},
	"ssl_max_protocol_version":               {allowed: "TLSv1,TLSv1.1,TLSv1.2,TLSv1.3"},
	"ssl_min_protocol_version":               {allowed: "TLSv1,TLSv1.1,TLSv1.2,TLSv1.3", value: "TLSv1.2"},
	"statement_timeout":                      {allowed: "0-2147483647"},
	"tcp_keepalives_count":                   {allowed: "0-2147483647"},
	"tcp_keepalives_idle":                    {allowed: "0-2147483647"},
	"tcp_keepalives_interval":                {allowed: "0-2147483647"},
	"temp_file_limit":                        {allowed: "-1-2147483647"},
	"timezone":                               {},
	"track_activity_query_size":              {allowed: "100-1048576", static: true},
	"track_functions":                        {allowed: "none,pl,all"},
	"track_io_timing":                        {allowed: "0,1"},
	"wal_buffers":                            {allowed: "-1-262143", static: true},
	"wal_sender_timeout":                     {allowed: "0-3600000"},
	"work_mem":                               {allowed: "64-2147483647"},
}

// interval is a range of numbers, "-1-10".
var interval = regexp.MustCompile(`^(-?[0-9]+)-([0-9]+)$`)

// admits tells whether the parameter can have the value. Formulas, in braces,
// are taken as they are.
func (p parameter) admits(value string) bool {
	if p.allowed == "" || strings.HasPrefix(value, "{") || strings.ContainsAny(value, "/*") && strings.Contains(value, "DBInstance") {
		return true
	}
	if m := interval.FindStringSubmatch(p.allowed); m != nil {
		low, _ := strconv.ParseFloat(m[1], 64)
		high, _ := strconv.ParseFloat(m[2], 64)
		v, err := strconv.ParseFloat(value, 64)
		return err == nil && v >= low && v <= high
	}
	return slices.Contains(strings.Split(p.allowed, ","), value)
}

// hostedZones are the zones of RDS endpoints, by region.
// https://docs.aws.amazon.com/general/latest/gr/rds-service.html
var hostedZones = map[string]string{
	"us-east-1": "Z2R2ITUGPM61AM", "us-east-2": "Z2XHWR1WZ565X2", "us-west-1": "Z10WI91S59XXQN", "us-west-2": "Z1PVIF0B656C1W",
	"eu-west-1": "Z29XKXDKYMONMX", "eu-west-2": "ZTTOMS5H3IJ4R", "eu-west-3": "ZMESEXB7ZGGQ3", "eu-central-1": "Z1RLNUO7B9Q6NB",
}
