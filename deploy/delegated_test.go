package deploy

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// answer is a DNS with one answer.
type answer struct {
	hosts []string
	err   error
	asked string
}

func (a *answer) LookupNS(_ context.Context, name string) ([]*net.NS, error) {
	a.asked = name
	var out []*net.NS
	for _, h := range a.hosts {
		out = append(out, &net.NS{Host: h})
	}
	return out, a.err
}

// TestL30DelegationIsCompared: what the DNS says about a new zone is told before
// the certificate is requested; of one that is there, only what is wrong.
func TestL30DelegationIsCompared(t *testing.T) {
	t.Parallel()
	const nowhere = "nobody delegates example.com yet, and its certificate is not validated before: have the parent domain name ns-1.aws.net, ns-2.aws.org"
	const elsewhere = "example.com leads to a.other.net, b.other.net, which is not its zone, and its certificate is not validated before it does: have the parent domain name ns-1.aws.net, ns-2.aws.org instead"
	for name, c := range map[string]struct {
		dns *answer // nil is none
		// What is told with a certificate that is there, and with one that is not.
		there, before string
	}{
		"no public DNS":       {nil, "", "whether example.com leads to its zone is not asked: there is no public DNS here"},
		"delegated":           {&answer{hosts: []string{"NS-2.aws.org.", "ns-1.aws.net."}}, "", "example.com leads to its zone"},
		"nobody delegates":    {&answer{err: &net.DNSError{Err: "no such host", IsNotFound: true}}, nowhere, nowhere},
		"an empty answer":     {&answer{}, nowhere, nowhere},
		"delegated elsewhere": {&answer{hosts: []string{"b.other.net.", "a.other.net."}}, elsewhere, elsewhere},
		"to half of it": {
			&answer{hosts: []string{"ns-1.aws.net."}},
			strings.Replace(elsewhere, "a.other.net, b.other.net", "ns-1.aws.net", 1),
			strings.Replace(elsewhere, "a.other.net, b.other.net", "ns-1.aws.net", 1),
		},
		"no answer": {&answer{err: errors.New("timed out")}, "", "whether example.com leads to its zone is not known: timed out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for status, want := range map[types.StackStatus]string{
				types.StackStatusReviewInProgress: c.before,
				types.StackStatusCreateComplete:   c.there,
			} {
				if got := compared(c.dns, status, true); got != want {
					t.Errorf("with the certificate's stack %s:\n got: %s\nwant: %s", status, got, want)
				}
			}
			if c.dns != nil && c.dns.asked != "example.com." {
				t.Errorf("asked for %q", c.dns.asked)
			}
			if c.dns != nil {
				c.dns.asked = ""
			}
			if got := compared(c.dns, types.StackStatusReviewInProgress, false); got != "" || c.dns != nil && c.dns.asked != "" {
				t.Errorf("with a zone of the customer's: told %q", got)
			}
		})
	}
}

// compared is what is told of a delegation, in one line for each step.
func compared(dns *answer, status types.StackStatus, ours bool) string {
	var told []string
	t := Target{
		Architecture: &architecture.Architecture{Config: &config.Config{DNS: config.DNS{Zone: "example.com"}}},
		AWS:          &awsapi.Clients{Clock: clock.Real{}},
		Emit:         func(e Event) { told = append(told, e.(Step).Text) },
	}
	if dns != nil {
		t.DNS = dns
	}
	a := &applying{
		run: newRun(t, nil), stacks: map[architecture.StackName]templates.Stack{},
		states:  map[architecture.StackName]*stack.State{architecture.Certificate: {Name: "poolside-certificate", Status: status}},
		outputs: map[architecture.StackName]map[string]string{architecture.DNS: {"NameServers": "ns-1.aws.net,ns-2.aws.org"}},
	}
	if ours {
		a.stacks[architecture.DNS] = templates.Stack{}
	}
	a.compareDelegation(context.Background())
	return strings.Join(told, "\n")
}
