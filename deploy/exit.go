package deploy

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/egress"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
	"github.com/poolhouse/poolhouse/stack"
)

// Ways out are asked about again and again for as long as two pings of an agent
// and the replacement of an instance take.
const (
	exitPatience = 15 * time.Minute
	exitPoll     = time.Minute
)

// ExitError says that private subnets have no proved way out.
type ExitError struct {
	Exits []egress.Exit
	// Denied is why they could not be asked about, if the caller may not.
	Denied error
	// Next is what to do about it.
	Next string
}

func (e *ExitError) Unwrap() error { return e.Denied }

func (e *ExitError) Error() string {
	if e.Denied != nil {
		return fmt.Sprintf("private subnets have no proved way out: asking about it takes the permission %s: %v; %s", awsapi.Permission(e.Denied), e.Denied, e.Next)
	}
	var shut []string
	for _, x := range e.Exits {
		if !x.Open() {
			shut = append(shut, x.String())
		}
	}
	return fmt.Sprintf("private subnets have no proved way out: %s; %s", strings.Join(shut, "; "), e.Next)
}

// exitOptions say which private subnets of a network are asked about.
func exitOptions(c *awsapi.Clients, a *architecture.Architecture, outputs map[string]string) egress.Options {
	o := egress.Options{EC2: c.EC2, SSM: c.SSM, VPC: outputs["VpcId"]}
	for zone := range a.PrivateSubnets() {
		n := strconv.Itoa(zone + 1)
		if id := outputs["PrivateSubnet"+n+"Id"]; id != "" {
			o.Subnets = append(o.Subnets, egress.Subnet{ID: id, Zone: outputs["Zone"+n+"Name"]})
		}
	}
	return o
}

// hasExits tells whether the private subnets leave by a NAT of the deployment's
// own.
func hasExits(c *config.Config) bool {
	return !c.Network.Exists() && c.Network.NAT.Mode != config.NATNone
}

// selfManaged tells whether that NAT is one of instances.
func selfManaged(c *config.Config) bool {
	m := c.Network.NAT.Mode
	return hasExits(c) && (m == config.NATInstancePerZone || m == config.NATSingleInstance)
}

// awaitExits waits until each private subnet has a way out that is proved, as far
// as there is somebody to ask, and tells by what. With afresh only what is heard
// from now on counts, by AWS's own clock, and whoever may not ask has no proof: an
// [*ExitError]. Otherwise who may not ask goes without.
func (a *applying) awaitExits(ctx context.Context, outputs map[string]string, afresh bool, next string) error {
	o := exitOptions(a.AWS, a.Architecture, outputs)
	var unproved error
	first := true
	w := poll.Wait{For: "the way out of the private subnets", Pace: poll.Every(exitPoll), Next: next}
	err := a.until(ctx, architecture.Network, w, func(ctx context.Context, waited time.Duration) (bool, string, error) {
		exits, err := egress.Ask(ctx, o)
		switch {
		case awsapi.IsDenied(err) && afresh:
			// What was there before would be given up for what nobody has seen work.
			unproved = &ExitError{Denied: err, Next: next}
			return true, "", nil
		case awsapi.IsDenied(err):
			a.step(architecture.Network, "the ways out of the private subnets are not asked about: %v", err)
			return true, "", nil
		case err != nil:
			return false, "", err
		}
		open := true
		var seen []string
		for _, x := range exits {
			seen = append(seen, x.String())
			open = open && x.Open()
			if first && afresh && x.Heard.After(o.Since) {
				o.Since = x.Heard
			}
		}
		asked := !first || !afresh || o.Since.IsZero()
		switch {
		case open && asked:
			for _, x := range exits {
				a.step(architecture.Network, "way out of %s", x)
			}
			return true, "", nil
		case asked && waited > exitPatience:
			unproved = &ExitError{Exits: exits, Next: next}
			return true, "", nil
		case first:
			a.step(architecture.Network, "asking in the private subnets whether the way out works; an agent is heard every five minutes")
		}
		first = false
		return false, strings.Join(seen, "; "), nil
	})
	if err != nil {
		return err
	}
	return unproved
}

// proveExits holds a deployment with self-managed NAT to its way out, as its last
// step on the network: that instances run proves nothing.
func (a *applying) proveExits(ctx context.Context) error {
	if !selfManaged(a.Architecture.Config) {
		return nil
	}
	return a.awaitExits(ctx, a.outputs[architecture.Network], false, "see the activities of the NAT's Auto Scaling group and the instance's log, then repeat the command")
}

// lookAtExits asks about the ways out of a deployment that is there; nil without
// NAT of its own.
func lookAtExits(ctx context.Context, t Target, network *stack.State) ([]egress.Exit, error) {
	if !hasExits(t.Architecture.Config) || !network.Exists() || stack.ConditionOf(network.Status) != stack.Whole {
		return nil, nil
	}
	return egress.Ask(ctx, exitOptions(t.AWS, t.Architecture, network.Outputs))
}
