package deploy

import (
	"strings"

	"github.com/poolhouse/poolhouse/inventory"
)

// Held is something that a kept stack holds and that costs something.
type Held struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	// Monthly is what it costs; if it is not known here, By is what its price goes
	// by.
	Monthly *inventory.Price `json:"monthly,omitempty"`
	By      string           `json:"by,omitempty"`
}

// Costs are what all that stays costs together in a month.
type Costs struct {
	// USD is the sum of what is known here, without taxes and discounts.
	USD float64 `json:"usd"`
	// Unknown are the types and ids of what is not in the sum.
	Unknown []string `json:"unknown,omitempty"`
}

// expand says what kept stacks hold, as the last inventory found it, and what all
// that stays costs. What passes or is somebody else's is not counted.
func (d *deleting) expand(list []Kept) Costs {
	var c Costs
	count := func(typ, id string, p *inventory.Price) {
		if p != nil {
			c.USD += p.Amount
		} else if inventory.Basis(typ) != "" {
			c.Unknown = append(c.Unknown, typ+" "+id)
		}
	}
	last := d.lastOf(list)
	for n := range list {
		k := &list[n]
		if k.Passing {
			continue
		}
		if k.Type != "AWS::CloudFormation::Stack" {
			count(k.Type, k.ID, k.Monthly)
			continue
		}
		if last != "" && k.Restore != nil {
			k.Restore = []string{createFrom(last)}
		}
		k.Holds = nil
		for _, i := range d.last {
			by := inventory.Basis(i.Type)
			if i.Part || d.Architecture.StackName(i.Stack) != k.ID || i.Type == k.Type || by == "" && i.Monthly == nil {
				continue
			}
			k.Holds = append(k.Holds, Held{i.Type, i.ID, i.Monthly, by})
			count(i.Type, i.ID, i.Monthly)
		}
	}
	return c
}

// lastOf is the last snapshot that a deletion which was to leave one has left:
// without it no creation goes on from the stacks. "" is none.
func (d *deleting) lastOf(list []Kept) (id string) {
	if d.opts.Data != SnapshotData || d.lastless {
		return ""
	}
	for _, k := range list {
		// Their names end with the time.
		if k.Type == "AWS::RDS::DBSnapshot" && strings.HasPrefix(k.ID, finalSnapshot(d.Architecture.DatabaseName())) {
			id = max(id, k.ID)
		}
	}
	return id
}

// createFrom is the command that makes the deployment with the data of a snapshot.
func createFrom(snapshot string) string {
	return "poolhouse create FILE, with database.snapshot: " + snapshot
}
