package rehearse

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/poolhouse/poolhouse/internal/rehearse/query"
	"github.com/poolhouse/poolhouse/sandbox"
)

// Servers are what holds the data of a copy of the account.
type Servers struct {
	// Box is the copy; its objects are in a server if Objects says so.
	Box     *sandbox.Sandbox
	Objects bool
	// Database is where the server behind an instance's endpoint is, and Roots
	// whose certificate it shows. Nil if there are none.
	Database func(endpoint string) netip.Addr
	Roots    *x509.CertPool
	// Visit is how users come to it; nil if nobody can sign in.
	Visit *Visit
	// Problem is what servers couldn't bring about so far, or nil.
	Problem func() error
	// Close ends all of them.
	Close func() error
}

// Data is what a rehearsal has shown of data, and in which time of the wall.
type Data struct {
	// Rehearsed are the ways that data went, NotRehearsed the others, with what
	// brings them.
	Rehearsed    []string `json:"rehearsed"`
	NotRehearsed []string `json:"notRehearsed"`
}

// patience is how long a server that follows the account may take.
const patience = time.Minute

// data sends objects and rows the way that they will go, in a copy of the
// account. It does so as somebody who may do anything, so neither where permissions
// are recorded nor where they are limited.
func (r *run) data(ctx context.Context) error {
	if r.opts.Servers == nil || r.opts.Record || r.opts.Policies != nil {
		return nil
	}
	return r.step(StepData, "objects and rows go their way and users sign in, in a copy of the account", nil, func() (out string, err error) {
		servers, missing, err := r.opts.Servers(ctx, r.box, r.next)
		if err != nil {
			return "", err
		}
		d := &Data{Rehearsed: []string{}, NotRehearsed: missing}
		r.report.Data = d
		if servers == nil {
			return "not rehearsed: data", nil
		}
		defer func() { err = errors.Join(err, servers.Close()) }()
		at, err := serve(ctx, servers.Box, r.clock)
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, at.close()) }()
		p, err := r.processAt(ctx, wire{box: servers.Box, url: at.URL})
		if err != nil {
			return "", err
		}
		defer p.end()
		var came []string
		if servers.Objects {
			came = append(came, "objects")
			if err := r.objects(p, d); err != nil {
				return "", err
			}
		}
		if servers.Database != nil {
			came = append(came, "rows")
			if err := r.rows(p, servers, d); err != nil {
				return "", errors.Join(err, servers.Problem())
			}
		}
		if len(came) > 0 {
			out = strings.Join(came, " and ") + " came back"
		}
		if servers.Visit != nil {
			if err := r.signOn(p, servers.Visit, d); err != nil {
				return "", errors.Join(err, servers.Problem())
			}
			if out != "" {
				out += ", "
			}
			out += "users signed in"
		}
		return out, nil
	})
}

// objects puts an object into each bucket, under its rules, and reads it back.
func (r *run) objects(p *process, d *Data) error {
	began := time.Now()
	want := bytes.Repeat([]byte("rehearsal "), 100_000)
	names := strings.NewReplacer("${AWS::AccountId}", r.report.Account, "${AWS::Region}", r.report.Region)
	for _, b := range r.next.Buckets {
		bucket, key := names.Replace(b.Name), "rehearsal/object"
		if _, err := p.clients.S3.PutObject(p.ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(want)}); err != nil {
			return fmt.Errorf("put an object into bucket %s: %w", bucket, err)
		}
		out, err := p.clients.S3.GetObject(p.ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			return fmt.Errorf("get an object from bucket %s: %w", bucket, err)
		}
		got, err := io.ReadAll(out.Body)
		if err := errors.Join(err, out.Body.Close()); err != nil {
			return fmt.Errorf("read an object of bucket %s: %w", bucket, err)
		}
		if !bytes.Equal(got, want) {
			return &MismatchError{"the object read from bucket " + bucket, []string{fmt.Sprintf("%d bytes, not the %d that were written", len(got), len(want))}}
		}
	}
	d.Rehearsed = append(d.Rehearsed, fmt.Sprintf("an object written and read in %s, in %.1fs", count(len(r.next.Buckets), "bucket"), time.Since(began).Seconds()))
	return nil
}

// rows writes a row and reads it: as the account's secret says, after a failover
// if there is a standby, and from a snapshot that is restored.
func (r *run) rows(p *process, s *Servers, d *Data) error {
	began := time.Now()
	i, err := r.instance(p, r.next.DatabaseName())
	if err != nil {
		return err
	}
	secret, err := p.clients.SecretsManager.GetSecretValue(p.ctx, &secretsmanager.GetSecretValueInput{SecretId: i.MasterUserSecret.SecretArn})
	if err != nil {
		return fmt.Errorf("read the master password: %w", err)
	}
	var master struct{ Username, Password string }
	if err := json.Unmarshal([]byte(aws.ToString(secret.SecretString)), &master); err != nil {
		return fmt.Errorf("read the master password: %w", err)
	}
	ask := func(i *types.DBInstance, what, sql, want string) error {
		name := aws.ToString(i.Endpoint.Address)
		return r.eventually(p.ctx, func() error {
			ctx, cancel := context.WithTimeout(p.ctx, patience)
			defer cancel()
			got, err := query.Server{
				Address: net.JoinHostPort(s.Database(name).String(), fmt.Sprint(aws.ToInt32(i.Endpoint.Port))), Name: name, Roots: s.Roots,
				User: master.Username, Password: master.Password, Database: "postgres",
			}.Ask(ctx, sql)
			if err == nil && got != want {
				err = fmt.Errorf("%q is read, not %q", got, want)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	const read = "SELECT x FROM rehearsal"
	if err := ask(i, "write a row", "CREATE TABLE IF NOT EXISTS rehearsal (x text PRIMARY KEY); INSERT INTO rehearsal VALUES ('kept') ON CONFLICT DO NOTHING; "+read, "kept"); err != nil {
		return err
	}
	ways := "a row written and read"
	if aws.ToBool(i.MultiAZ) {
		before := s.Database(aws.ToString(i.Endpoint.Address))
		if _, err := p.clients.RDS.RebootDBInstance(p.ctx, &rds.RebootDBInstanceInput{DBInstanceIdentifier: i.DBInstanceIdentifier, ForceFailover: aws.Bool(true)}); err != nil {
			return fmt.Errorf("fail the database over: %w", err)
		}
		if i, err = r.available(p, *i.DBInstanceIdentifier); err != nil {
			return err
		}
		if err := r.eventually(p.ctx, func() error {
			if s.Database(aws.ToString(i.Endpoint.Address)) == before {
				return errors.New("the database is where it was before the failover")
			}
			return nil
		}); err != nil {
			return err
		}
		if err := ask(i, "read a row after a failover", read, "kept"); err != nil {
			return err
		}
		ways += ", after a failover"
	}
	restored, err := r.restore(p, i)
	if err != nil {
		return err
	}
	if err := ask(restored, "read a row from a snapshot", read, "kept"); err != nil {
		return err
	}
	d.Rehearsed = append(d.Rehearsed, fmt.Sprintf("%s and from a snapshot, in %.1fs", ways, time.Since(began).Seconds()))
	return nil
}

// restore takes a snapshot and makes another instance of it.
func (r *run) restore(p *process, i *types.DBInstance) (*types.DBInstance, error) {
	name := aws.String(aws.ToString(i.DBInstanceIdentifier) + "-rehearsal")
	if _, err := p.clients.RDS.CreateDBSnapshot(p.ctx, &rds.CreateDBSnapshotInput{DBInstanceIdentifier: i.DBInstanceIdentifier, DBSnapshotIdentifier: name}); err != nil {
		return nil, fmt.Errorf("take a snapshot: %w", err)
	}
	if err := r.becomes(p.ctx, "snapshot "+*name, func() (string, error) {
		out, err := p.clients.RDS.DescribeDBSnapshots(p.ctx, &rds.DescribeDBSnapshotsInput{DBSnapshotIdentifier: name})
		if err != nil {
			return "", fmt.Errorf("take a snapshot: %w", err)
		}
		return aws.ToString(out.DBSnapshots[0].Status), nil
	}); err != nil {
		return nil, err
	}
	in := &rds.RestoreDBInstanceFromDBSnapshotInput{DBInstanceIdentifier: name, DBSnapshotIdentifier: name, DBInstanceClass: i.DBInstanceClass, DBSubnetGroupName: i.DBSubnetGroup.DBSubnetGroupName}
	for _, g := range i.DBParameterGroups {
		in.DBParameterGroupName = g.DBParameterGroupName
	}
	if _, err := p.clients.RDS.RestoreDBInstanceFromDBSnapshot(p.ctx, in); err != nil {
		return nil, fmt.Errorf("restore the snapshot: %w", err)
	}
	return r.available(p, *name)
}

func (r *run) instance(p *process, id string) (*types.DBInstance, error) {
	out, err := p.clients.RDS.DescribeDBInstances(p.ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
	if err != nil {
		return nil, fmt.Errorf("look at database %s: %w", id, err)
	}
	return &out.DBInstances[0], nil
}

// available waits until an instance is.
func (r *run) available(p *process, id string) (i *types.DBInstance, err error) {
	err = r.becomes(p.ctx, "database "+id, func() (string, error) {
		if i, err = r.instance(p, id); err != nil {
			return "", err
		}
		return aws.ToString(i.DBInstanceStatus), nil
	})
	return i, err
}

// mostWait is how long, of AWS's time, something of RDS may take to become
// available: a multiple of what AWS takes.
const mostWait = 6 * time.Hour

// final are the statuses of snapshots and instances that nothing comes after by
// itself.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
var final = []string{"failed", "incompatible-network", "incompatible-option-group", "incompatible-parameters", "incompatible-restore", "insufficient-capacity", "restore-error", "stopped", "storage-full"}

// becomes waits until something of RDS is available, and looks each minute.
func (r *run) becomes(ctx context.Context, what string, look func() (status string, err error)) error {
	for began := r.clock.Now(); ; {
		if err := r.clock.Sleep(ctx, time.Minute); err != nil {
			return err
		}
		status, err := look()
		switch {
		case err != nil || status == "available":
			return err
		case slices.Contains(final, status):
			return fmt.Errorf("%s is %s, and doesn't become available", what, status)
		case r.clock.Now().Sub(began) > mostWait:
			return fmt.Errorf("%s is %s after %s", what, status, mostWait)
		}
	}
}

// eventually tries until something is so, while the clock is held: the servers
// follow the account in real time.
func (r *run) eventually(ctx context.Context, f func() error) error {
	defer r.clock.Hold()()
	until := time.Now().Add(patience)
	for {
		err := f()
		if err == nil || time.Now().After(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
