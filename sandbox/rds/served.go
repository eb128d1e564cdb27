package rds

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/secretsmanager"
)

// Server is a database instance as who keeps its rows has to know it.
type Server struct {
	// Resource is the instance's id for ever, and ID its name.
	Resource, ID string
	// Endpoint and Port are where clients find it, Zone is where it runs.
	Endpoint, Zone string
	Port           int
	Running        bool
	// User is the master user, Password its password, or empty if it has one
	// that isn't known, as after a restore.
	User, Password string
	// Database is the one to make, or empty.
	Database string
	ForceTLS bool
	// Starts counts how often it was started again, the last time Abruptly: its
	// connections were cut. Full tells that it takes no more rows.
	Starts         int
	Abruptly, Full bool
	// From is the Copy that a new one begins with, or empty.
	From string
}

// Copy is a snapshot as who keeps its rows has to know it: of the instance with
// that resource id, taken when the copy is seen first.
type Copy struct{ Key, ID, Of string }

// down are the statuses in which nobody answers.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
var down = []string{"creating", "deleting", "failed", "rebooting", "starting", "stopped", "stopping", recoverable, unrecoverable}

// Served are all instances and snapshots, by their ids.
func Served(tx *account.Tx) (servers []Server, copies []Copy, err error) {
	for _, s := range tx.List(TypeSnapshot) {
		copies = append(copies, Copy{Key: copyKey(s), ID: s.ID, Of: props.Str(s.Data, "resource")})
	}
	for _, r := range tx.List(TypeInstance) {
		password, failed := masterPassword(tx, r)
		if failed != nil {
			err = failed
		}
		s := Server{
			Resource: props.Str(r.Attrs, "DbiResourceId"), ID: r.ID, Endpoint: props.Str(r.Attrs, "Endpoint.Address"), Port: props.Int(r.Attrs, 5432, "Endpoint.Port"),
			Zone: props.Str(r.Data, "zone"), Running: !slices.Contains(down, r.Status), User: props.Str(r.Data, "user"), Password: password,
			Database: props.Str(r.Data, "database"), ForceTLS: forceTLS(tx, r),
			Starts: props.Int(r.Data, 0, "starts"), Abruptly: props.Bool(r.Data, false, "abruptly"), Full: props.Int(r.Data, 0, "full") > 0,
		}
		if snapshot := tx.Get(TypeSnapshot, strings.ToLower(props.Str(r.Props, "DBSnapshotIdentifier"))); snapshot != nil {
			s.From = copyKey(snapshot)
		}
		servers = append(servers, s)
	}
	return servers, copies, err
}

// copyKey tells a snapshot from a former one of the same name.
func copyKey(s *account.Resource) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%s %d", s.ID, s.Created.UnixNano()))
	return fmt.Sprintf("snapshot-%x", h[:12])
}

// forceTLS is the parameter rds.force_ssl that is in force.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/PostgreSQL.Concepts.General.SSL.html
func forceTLS(tx *account.Tx, r *account.Resource) bool {
	value := parameters["rds.force_ssl"].value
	if g := tx.Get(TypeParameterGroup, strings.ToLower(props.Str(r.Props, "DBParameterGroupName"))); g != nil {
		value = cmp.Or(props.Str(g.Props, "Parameters", "rds.force_ssl"), value)
	}
	return value == "1"
}

// masterPassword is the one in the managed secret, or the one that was given.
func masterPassword(tx *account.Tx, r *account.Resource) (string, error) {
	s := tx.Get(typeSecret, props.Str(r.Attrs, "MasterUserSecret.SecretArn"))
	if s == nil {
		return props.Str(r.Props, "MasterUserPassword"), nil
	}
	text, err := secretsmanager.Known(tx, s)
	if err != nil {
		return "", err
	}
	var content struct{ Password string }
	if err := json.Unmarshal([]byte(text), &content); err != nil {
		return "", fmt.Errorf("read the secret of DB instance %s: %w", r.ID, err)
	}
	return content.Password, nil
}
