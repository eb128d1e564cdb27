// Package ec2test is an account for the tests of EC2's packages: resources are
// made as a stack would make them, and are ready at once.
//
// It knows the types of EC2, IAM and KMS, and those that a test adds. Only
// tests import it.
package ec2test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/api"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/kms"
)

// In are properties.
type In = map[string]any

// Lab is an account in us-east-1 with three zones, whose clock stands still
// until Wait.
type Lab struct {
	T       testing.TB
	Account *account.Account
	now     *time.Time
}

// Options vary a lab.
type Options struct {
	// Used gives the account a default VPC.
	Used bool
	// Types are resource types besides those that are known.
	Types []*account.Type
	// Events are event handlers besides those that are known.
	Events map[string]func(*account.Tx, account.Event)
	// World is what surrounds the account.
	World account.World
}

// New returns a lab with an account of its own.
func New(t testing.TB, o Options) *Lab {
	t.Helper()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	model := &account.Model{Types: map[string]*account.Type{}, Events: kms.Events(), Seed: api.Seed}
	maps.Copy(model.Events, api.Events())
	maps.Copy(model.Events, o.Events)
	for _, types := range [][]*account.Type{api.Types(), iam.Types(), kms.Types(), o.Types} {
		for _, typ := range types {
			model.Types[typ.Name] = typ
		}
	}
	l := &Lab{T: t, now: &now}
	zones := []account.Zone{{Name: "us-east-1a", ID: "use1-az1"}, {Name: "us-east-1b", ID: "use1-az2"}, {Name: "us-east-1c", ID: "use1-az3"}}
	l.Account = account.New(model, account.Options{Fresh: !o.Used, World: o.World, Zones: zones, Now: func() time.Time { return now }})
	return l
}

// Do works on the account.
func (l *Lab) Do(f func(tx *account.Tx)) {
	l.T.Helper()
	err := l.Account.Do(func(tx *account.Tx) error {
		f(tx)
		return nil
	})
	if err != nil {
		l.T.Fatal(err)
	}
}

// Wait lets simulated time pass.
func (l *Lab) Wait(d time.Duration) {
	*l.now = l.now.Add(d)
	l.Do(func(*account.Tx) {})
}

// Create makes a resource and settles it.
func (l *Lab) Create(typ string, p In) (r *account.Resource, err error) {
	err = l.Account.Do(func(tx *account.Tx) error {
		if r, _, err = tx.Create(typ, p, "test", false); err != nil {
			return err
		}
		return tx.Settle(r, "create")
	})
	return r, err
}

// Make makes a resource that must be accepted.
func (l *Lab) Make(typ string, p In) *account.Resource {
	l.T.Helper()
	r, err := l.Create(typ, p)
	if err != nil {
		l.T.Fatalf("create %s %v: %v", typ, p, err)
	}
	return r
}

// Update moves a resource to other properties and settles it.
func (l *Lab) Update(r *account.Resource, p In) error {
	return l.Account.Do(func(tx *account.Tx) error {
		if _, err := tx.Update(r, p, false); err != nil {
			return err
		}
		return tx.Settle(r, "update")
	})
}

// Delete deletes a resource, whatever time it takes.
func (l *Lab) Delete(r *account.Resource) error {
	return l.Account.Do(func(tx *account.Tx) error {
		if _, err := tx.Delete(r, false); err != nil {
			return err
		}
		return tx.Settle(r, "delete")
	})
}

// Gone deletes resources that nothing may hold any more.
func (l *Lab) Gone(rs ...*account.Resource) {
	l.T.Helper()
	for _, r := range rs {
		if err := l.Delete(r); err != nil {
			l.T.Errorf("delete %s: %v", r.ID, err)
		}
	}
}

// Held wants the deletion refused, see [Lab.Want].
func (l *Lab) Held(want string, r *account.Resource) {
	l.T.Helper()
	l.Want(want, l.Delete(r))
}

// Want fails the test unless the error begins with want, a code and perhaps
// words: "DependencyViolation: The vpc". An empty want is no error.
func (l *Lab) Want(want string, err error) {
	l.T.Helper()
	switch {
	case want == "" && err != nil:
		l.T.Errorf("got %v, want no error", err)
	case want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)):
		l.T.Errorf("got %v, want %s", err, want)
	}
}

// Network is a small VPC with an internet gateway.
type Network struct {
	VPC, Gateway, Attachment *account.Resource
	A, B                     *account.Resource // subnets in the first two zones
	Table, Group             *account.Resource
}

// Network makes one.
func (l *Lab) Network() Network {
	l.T.Helper()
	vpc := l.Make(ec2.TypeVPC, In{"CidrBlock": "10.0.0.0/16", "EnableDnsHostnames": true})
	gateway := l.Make(ec2.TypeInternetGateway, In{})
	return Network{
		VPC: vpc, Gateway: gateway,
		Attachment: l.Make(ec2.TypeVPCGatewayAttachment, In{"VpcId": vpc.ID, "InternetGatewayId": gateway.ID}),
		A:          l.Make(ec2.TypeSubnet, In{"VpcId": vpc.ID, "CidrBlock": "10.0.0.0/24", "AvailabilityZone": "us-east-1a"}),
		B:          l.Make(ec2.TypeSubnet, In{"VpcId": vpc.ID, "CidrBlock": "10.0.1.0/28", "AvailabilityZoneId": "use1-az2"}),
		Table:      l.Make(ec2.TypeRouteTable, In{"VpcId": vpc.ID}),
		Group:      l.Make(ec2.TypeSecurityGroup, In{"VpcId": vpc.ID, "GroupName": "own", "GroupDescription": "own"}),
	}
}

// Case is a resource that must be refused, or accepted if Want is empty.
type Case = struct {
	Name, Type string
	In         In
	Want       string
}

// Check runs the cases, each on a fork of the account.
func (l *Lab) Check(cases []Case) {
	l.T.Helper()
	for _, c := range cases {
		fork := &Lab{T: l.T, now: l.now, Account: l.Account.Clone(func() time.Time { return *l.now })}
		_, err := fork.Create(c.Type, c.In)
		switch {
		case c.Want == "" && err != nil:
			l.T.Errorf("%s: got %v, want no error", c.Name, err)
		case c.Want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.Want)):
			l.T.Errorf("%s: got %v, want %s", c.Name, err, c.Want)
		}
	}
}
