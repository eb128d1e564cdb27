package account

import (
	"strings"
	"time"
)

// World is what surrounds an account and the account itself can't change: what
// AWS grants it, what other accounts hold, who delegates to it. The zero value
// is an account in use, in a region that has everything. It must not be changed
// after the account was made.
type World struct {
	// Quotas are applied quotas that differ from those of package quota, by
	// quota code ("L-F678F1CE"), or, for one that Service Quotas doesn't list,
	// by its key there ("ssm/standard-parameters").
	Quotas map[string]int
	// Capacity is what zones have of instance types; what none of them names is
	// there without limit.
	Capacity []Capacity
	// ForeignBuckets are names of buckets that other accounts own.
	ForeignBuckets []string
	// Undelegated are domains whose zones in Route 53 nothing on the internet
	// leads to, because their parent domain doesn't name their name servers.
	// Other zones count as delegated.
	Undelegated []string
	// GuardDuty tells that GuardDuty's Runtime Monitoring is on, with agents
	// that it manages by itself: it puts an endpoint into VPCs with instances.
	GuardDuty bool
	// LeakedInterfaces leaves behind, detached, the interfaces that the VPC CNI
	// attached to nodes, when their instances go.
	LeakedInterfaces bool
	// Regions are the other regions that the account has enabled.
	Regions []Region
}

// Region is another region of an account, as far as it is modelled.
type Region struct {
	Name string
	// Certificates are the domains of the certificates that ACM issued there.
	Certificates []string
}

// Elsewhere is another region that the account has enabled, or nil.
func (w *World) Elsewhere(name string) *Region {
	for i := range w.Regions {
		if w.Regions[i].Name == name {
			return &w.Regions[i]
		}
	}
	return nil
}

// Capacity is how much a zone has of an instance type.
type Capacity struct {
	InstanceType string
	// Zone is a zone's name or id; empty means every zone.
	Zone string
	// Instances run there at most, unused reservations included. A negative
	// number means that the type isn't offered there.
	Instances int
}

// World is what surrounds the account.
func (tx *Tx) World() *World { return &tx.a.opts.World }

// CloneIn is [Account.Clone] in another world.
func (a *Account) CloneIn(now func() time.Time, w World) *Account {
	c := a.Clone(now)
	c.opts.World = w
	return c
}

// Delegated tells whether the public DNS leads to a zone of this account.
func (w *World) Delegated(domain string) bool {
	for _, u := range w.Undelegated {
		if strings.EqualFold(strings.TrimSuffix(u, "."), strings.TrimSuffix(domain, ".")) {
			return false
		}
	}
	return true
}
