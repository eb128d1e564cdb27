package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// Egress is a change of the public addresses that the private subnets leave by,
// which others know the deployment by.
type Egress struct {
	// Before are the addresses in use, After those that will be, as far as they
	// are allocated. Pending are those of After that are not yet: the update
	// allocates them before it changes anything else.
	Before  []string `json:"before"`
	After   []string `json:"after"`
	Pending int      `json:"pending"`
	// Announced tells that the addresses are only shown, by
	// network.nat.announce: they stay out of use until network.nat.mode changes.
	Announced bool `json:"announced"`
	// Listed are the allow-lists of the configuration that name an address of
	// Before, which goes, and by that name none of After.
	Listed []AllowListed `json:"allowLists,omitempty"`
}

// AllowListed is an entry of an allow-list in the configuration.
type AllowListed struct {
	Path    string `json:"path"`
	Entry   string `json:"entry"`
	Address string `json:"address"`
}

// Added are the addresses to let in before the change, Dropped those to let in
// no longer after it.
func (e *Egress) Added() []string { return lacking(e.After, e.Before) }

// Dropped are the addresses that will be released.
func (e *Egress) Dropped() []string {
	if e.Announced {
		return nil
	}
	return lacking(e.Before, e.After)
}

// String is the change in words: what leaves by which addresses now and then.
func (e *Egress) String() string {
	if e.Pending > 0 && len(e.After) == 0 {
		return fmt.Sprintf("now %s; then %d that are allocated first", orNone(e.Before), e.Pending)
	}
	then := orNone(e.After)
	if e.Pending > 0 {
		then += fmt.Sprintf(" and %d more that are allocated first", e.Pending)
	}
	return fmt.Sprintf("now %s; then %s", orNone(e.Before), then)
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// lacking is what of a list is not in another one.
func lacking(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}

// planEgress tells how an update changes the public addresses of a network that
// is there; nil if it doesn't. It only reads.
func (a *applying) planEgress(ctx context.Context) (*Egress, error) {
	st := a.state(architecture.Network)
	if a.Architecture.Config.Network.Exists() || !st.Exists() || stack.ConditionOf(st.Status) == stack.Stillborn {
		return nil, nil
	}
	allocated, err := a.allocated(ctx, st.ID)
	if err != nil {
		return nil, err
	}
	var next natDocument
	if err := json.Unmarshal(a.stacks[architecture.Network].Body, &next); err != nil {
		return nil, fmt.Errorf("read the template of stack %s: %w", st.Name, err)
	}
	return changeOfEgress(a.Architecture.Config, list(st.Outputs[templates.AddressesOutput]), next, allocated), nil
}

// allocated are the addresses of a stack by logical id.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-eip.html
func (r *run) allocated(ctx context.Context, name string) (map[string]string, error) {
	held, err := r.driver.Resources(ctx, name)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, res := range held {
		if res.Type == typeAddress && res.PhysicalID != "" && !strings.HasPrefix(string(res.Status), "DELETE_") {
			out[res.LogicalID] = res.PhysicalID
		}
	}
	return out, nil
}

// changeOfEgress compares the addresses in use with those that a template leads to.
func changeOfEgress(c *config.Config, before []string, next natDocument, allocated map[string]string) *Egress {
	e := &Egress{Before: before, After: []string{}, Announced: c.Network.NAT.Announce != ""}
	wanted := next.addresses(templates.AddressesOutput)
	var now []string
	for _, id := range wanted {
		now = append(now, allocated[id])
	}
	// A mode that changes is not only announced.
	if e.Announced = e.Announced && len(lacking(before, now)) == 0 && len(lacking(now, before)) == 0; e.Announced {
		wanted = next.addresses(templates.AnnouncedOutput)
	}
	for _, id := range wanted {
		if ip := allocated[id]; ip != "" {
			e.After = append(e.After, ip)
		} else {
			e.Pending++
		}
	}
	if e.Pending == 0 && len(e.Added()) == 0 && len(lacking(before, e.After)) == 0 {
		return nil
	}
	e.Listed = listed(c, lacking(before, e.After))
	return e
}

// listed finds the entries of the configuration's allow-lists that hold an
// address.
func listed(c *config.Config, addresses []string) []AllowListed {
	var out []AllowListed
	for _, l := range []struct {
		path  string
		cidrs []string
	}{
		{"cluster.publicAccessCidrs", c.Cluster.PublicAccessCIDRs},
		{"access.web.allowCidrs", c.Access.Web.AllowCIDRs},
		{"access.admin.allowCidrs", c.Access.Admin.AllowCIDRs},
	} {
		for i, cidr := range l.cidrs {
			p, err := netip.ParsePrefix(cidr)
			if err != nil {
				continue
			}
			for _, address := range addresses {
				if ip, err := netip.ParseAddr(address); err == nil && p.Contains(ip) {
					out = append(out, AllowListed{fmt.Sprintf("%s[%d]", l.path, i), cidr, address})
				}
			}
		}
	}
	return out
}

// list splits an output that joins its values by commas.
func list(output string) []string {
	if output == "" {
		return []string{}
	}
	return strings.Split(output, ",")
}
