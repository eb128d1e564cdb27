// Package rds simulates Amazon RDS for PostgreSQL: instances, their subnet and
// parameter groups, snapshots and automated backups.
//
// Invariants: an instance lies in subnets of its group and holds an interface
// there; a group in use can't be deleted; a protected instance can't be
// deleted; a final snapshot outlives its instance; the secret with the master
// password belongs to RDS and goes with the instance.
//
// Limits: there is no database behind the endpoint, other engines, clusters,
// replicas, proxies, Outposts and directories aren't modelled and are refused.
// Nothing is restored to a point in time.
package rds

import (
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms"
)

// The resource types of this package. Snapshots and automated backups aren't
// known to CloudFormation.
const (
	TypeInstance        = "AWS::RDS::DBInstance"
	TypeSubnetGroup     = "AWS::RDS::DBSubnetGroup"
	TypeParameterGroup  = "AWS::RDS::DBParameterGroup"
	TypeSnapshot        = "rds:snapshot"
	TypeAutomatedBackup = "rds:automated-backup"
)

const service = "rds.amazonaws.com"

// Types returns the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{instanceType(), subnetGroupType(), parameterGroupType(), snapshotType(), {Name: TypeAutomatedBackup}}
}

// Events returns the handlers of this package's events.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){
		"rds:backup-expiry":     func(tx *account.Tx, e account.Event) { dropBackup(tx, e.ID) },
		rotation:                rotate,
		"secretsmanager:rotate": rotateNow,
		eventFailover:           failedOver,
		eventRecovered:          recovered,
		eventSpace:              space,
		eventMaintenance:        maintain,
		eventBackup:             backUp,
		eventPower:              became,
		eventAutorun:            autorun,
		eventLost:               lost,
		kms.EventUnusable:       keyLost,
	}
}

// Seed gives a used account the log group of enhanced monitoring, which all of
// its instances share.
func Seed(tx *account.Tx) {
	if tx.Fresh() {
		return
	}
	tx.Put(&account.Resource{
		Type: "AWS::Logs::LogGroup", ID: monitoringGroup, Owner: service, Status: "ACTIVE",
		Props: map[string]any{"LogGroupName": monitoringGroup, "RetentionInDays": 30},
		Attrs: map[string]any{"Arn": tx.ARN("logs", "log-group:"+monitoringGroup+":*")},
		Data:  map[string]any{}, Tags: map[string]string{},
	})
}

const monitoringGroup = "RDSOSMetrics"

func value(format string, args ...any) error {
	return account.Errorf("InvalidParameterValue", format, args...)
}

func combination(format string, args ...any) error {
	return account.Errorf("InvalidParameterCombination", format, args...)
}

func missing(code, format string, args ...any) error {
	e := account.Errorf(code, format, args...)
	e.Status = 404
	return e
}

// identifier tells whether a name is one: letters, digits and single hyphens,
// a letter first.
func identifier(s string) bool {
	if s == "" || len(s) > 63 || strings.HasSuffix(s, "-") || strings.Contains(s, "--") {
		return false
	}
	for i, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}
