package deploy_test

import (
	"slices"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// leavingBy is an architecture with another NAT mode.
func leavingBy(t *testing.T, a *architecture.Architecture, mode config.NATMode) *architecture.Architecture {
	t.Helper()
	return became(t, a, func(c *config.Config) {
		c.Network.NAT = config.NAT{Mode: mode, InstanceType: "t4g.small"}
		c.Deviations = map[string]string{architecture.SingleNAT: "one is enough", architecture.SingleAZDatabase: "nobody works at night"}
	})
}

// exits are where the private subnets' default routes lead, by route table: the
// kind of target and its public address; "" where nothing answers.
func (w *world) exits() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	err := w.box.Account().Do(func(tx *account.Tx) error {
		for _, r := range tx.List("AWS::EC2::Route") {
			if props.Str(r.Attrs, "CidrBlock") != "0.0.0.0/0" || props.Str(r.Props, "GatewayId") != "" {
				continue
			}
			table := props.Str(r.Props, "RouteTableId")
			eni := props.Str(r.Props, "NetworkInterfaceId")
			kind := "instance"
			if g := tx.Get("AWS::EC2::NatGateway", props.Str(r.Props, "NatGatewayId")); g != nil {
				kind, eni = "gateway", props.Str(g.Attrs, "EniId")
			}
			out[table] = ""
			for _, ip := range tx.List("AWS::EC2::EIP") {
				if eni != "" && props.Str(ip.Data, "association", "eni") == eni {
					out[table] = kind + " " + ip.ID
				}
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// egressPlan is the part of a plan that tells of the addresses.
func (w *world) egressPlan(a *architecture.Architecture) *deploy.Egress {
	w.t.Helper()
	p, err := deploy.MakePlan(w.t.Context(), w.target(a))
	if err != nil {
		w.t.Fatalf("plan: %v", err)
	}
	return p.Egress
}

// addresses are the Elastic IP addresses of the account, sorted.
func (w *world) addresses() []string {
	var out []string
	for _, r := range w.find("AWS::EC2::EIP") {
		out = append(out, r.ID)
	}
	slices.Sort(out)
	return out
}

func lackingIn(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}
