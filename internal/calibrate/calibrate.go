// Package calibrate compares a real account with the sandbox: it asks both the
// same, by calls that change nothing, and lists each difference. So users with
// an account find out where the sandbox lies.
//
// A [Probe] is a question; its findings on either side are [Facts], in which
// nothing is left that belongs to one account only: ids, account numbers,
// times. Probes look at an account through a guard that lets nothing through
// but the calls that they list, and of those only what reads, what is a dry
// run, and, if [Options.Templates] ask for it, change sets of stacks of a name
// of their own, which are deleted and never executed.
//
// Limits: it sees what the calls tell. What happens over time, such as the
// order of a stack's events, it can't compare without making something.
package calibrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Probe asks the same of an account and of the sandbox.
type Probe struct {
	ID   string `json:"id"`
	Asks string `json:"asks"`
	// Calls are all that it makes, as IAM names the actions: the permissions
	// that it needs.
	Calls []string `json:"calls"`
	// Partial tells that the sandbox is known to have less: what only the
	// account has is no difference.
	Partial bool `json:"partial"`
	// Writes tells that it makes stacks in review, and deletes them.
	Writes bool `json:"writes"`

	// updates tells that it looks at stacks that are there.
	updates bool
	look    func(context.Context, *side) error
}

// Facts are findings by name.
type Facts map[string]string

// side is what a probe looks at, and what it finds there.
type side struct {
	*awsapi.Clients
	identity  identity
	templates []Template
	stacks    []string
	facts     Facts
	// unseen are the facts that could not be found out, and why.
	unseen map[string]string
}

// identity is whose account it is.
type identity struct{ account, partition string }

// missed tells that a fact could not be found out, or that what its name begins
// with could not.
func (s *side) missed(name string) bool {
	for at := range s.unseen {
		if name == at || strings.HasPrefix(name, at+" ") {
			return true
		}
	}
	return false
}

// found notes a fact.
func (s *side) found(name, format string, args ...any) {
	s.facts[name] = s.normal(fmt.Sprintf(format, args...))
}

// Unseen is a fact, or with no name all of a probe, that one side did not tell.
type Unseen struct {
	Name string `json:"name,omitempty"`
	// Side is "account" or "sandbox".
	Side string `json:"side"`
	Why  string `json:"why"`
}

// Difference is a fact that isn't the same; empty where there is none.
type Difference struct {
	Name    string `json:"name"`
	Account string `json:"account"`
	Sandbox string `json:"sandbox"`
}

// Result is what a probe has found.
type Result struct {
	Probe
	// Compared is how many facts were.
	Compared    int          `json:"compared"`
	Differences []Difference `json:"differences"`
	Unseen      []Unseen     `json:"unseen"`
}

// Report is what a run has found.
type Report struct {
	Account string   `json:"account"`
	Region  string   `json:"region"`
	Results []Result `json:"results"`
}

// Differences is how many there are.
func (r *Report) Differences() int {
	n := 0
	for _, x := range r.Results {
		n += len(x.Differences)
	}
	return n
}

// Template is one that change sets are made of. In the values of parameters,
// {account} stands for the account's number, {region} for its region, and
// {zone-id-1} and {zone-name-1}, and so on, for its zones in order of their
// names.
type Template struct {
	Name       string
	Body       string
	Parameters map[string]string
}

// filled are the templates with what stands for something filled in.
func filled(templates []Template, region string, id identity, zones []ec2types.AvailabilityZone) []Template {
	pairs := []string{"{account}", id.account, "{region}", region}
	zones = slices.SortedFunc(slices.Values(zones), func(a, b ec2types.AvailabilityZone) int {
		return strings.Compare(aws.ToString(a.ZoneName), aws.ToString(b.ZoneName))
	})
	for i, z := range zones {
		pairs = append(pairs, fmt.Sprintf("{zone-id-%d}", i+1), aws.ToString(z.ZoneId), fmt.Sprintf("{zone-name-%d}", i+1), aws.ToString(z.ZoneName))
	}
	r := strings.NewReplacer(pairs...)
	out := slices.Clone(templates)
	for i, t := range out {
		out[i].Parameters = map[string]string{}
		for k, v := range t.Parameters {
			out[i].Parameters[k] = r.Replace(v)
		}
	}
	return out
}

// Options say what to compare.
type Options struct {
	// Account makes the clients on the account, behind a guard.
	Account func(ctx context.Context, guard func(*http.Request) error) (*awsapi.Clients, error)
	// Only are the ids of probes to run, which may end in an asterisk; none
	// means all.
	Only []string
	// Templates are those to make change sets of. None means that the probes
	// that write are left out.
	Templates []Template
	// Stacks are the names of a deployment's stacks: of those that the account
	// has, change sets are made too, as of an update that adds a tag. Deploy
	// makes the same deployment in a sandbox.
	Stacks []string
	Deploy func(context.Context, *sandbox.Sandbox, *awsapi.Clients) error
}

// Chosen are the probes that run.
func (o Options) Chosen() []Probe {
	var out []Probe
	for _, p := range Probes() {
		if (len(o.Only) == 0 || slices.ContainsFunc(o.Only, func(pattern string) bool {
			ok, err := path.Match(pattern, p.ID)
			return ok && err == nil
		})) && (!p.Writes || len(o.Templates) > 0 && !p.updates || len(o.Stacks) > 0 && p.updates) {
			out = append(out, p)
		}
	}
	return out
}

// Known refuses ids that no probe has.
func (o Options) Known() error {
	var errs []error
	for _, pattern := range o.Only {
		if !slices.ContainsFunc(Probes(), func(p Probe) bool { ok, err := path.Match(pattern, p.ID); return ok && err == nil }) {
			errs = append(errs, fmt.Errorf("no probe has the id %q", pattern))
		}
	}
	return errors.Join(errs...)
}

// always are the calls that every run makes.
var always = []string{"sts:GetCallerIdentity", "ec2:DescribeAvailabilityZones"}

// Permissions are the IAM actions that probes need, sorted.
func Permissions(probes []Probe) []string {
	all := slices.Clone(always)
	for _, p := range probes {
		all = append(all, p.Calls...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Run compares. An error means that there was no way to the account; what a
// probe could not look at is in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	probes := o.Chosen()
	guard := newGuard(Permissions(probes), len(o.Templates) > 0, o.Stacks)
	real, err := o.Account(ctx, guard.check)
	if err != nil {
		return nil, err
	}
	who, err := real.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, fmt.Errorf("ask who the caller is: %w", err)
	}
	id := identity{account: aws.ToString(who.Account), partition: "aws"}
	if parts := strings.Split(aws.ToString(who.Arn), ":"); len(parts) > 1 {
		id.partition = parts[1]
	}
	zones, err := real.EC2.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{})
	if err != nil {
		return nil, fmt.Errorf("look up the region's zones: %w", err)
	}
	var standing []string
	if slices.ContainsFunc(probes, func(p Probe) bool { return p.updates }) {
		if standing, err = there(ctx, real, o.Stacks); err != nil {
			return nil, err
		}
	}
	model, err := o.sandbox(ctx, real.Region, id, zones.AvailabilityZones, guard, len(standing) > 0)
	if err != nil {
		return nil, err
	}
	templates := filled(o.Templates, real.Region, id, zones.AvailabilityZones)
	report := &Report{Account: id.account, Region: real.Region}
	for _, p := range probes {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		look := func(c *awsapi.Clients) (*side, string) {
			s := &side{Clients: c, identity: id, templates: templates, stacks: standing, facts: Facts{}, unseen: map[string]string{}}
			if err := p.look(ctx, s); err != nil {
				return s, why(err)
			}
			return s, ""
		}
		there, missing := look(real)
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		here, lacking := look(model)
		report.Results = append(report.Results, compare(p, there, missing, here, lacking))
	}
	return report, nil
}

// sandbox makes clients on an account like the real one: in its region, with
// its names for the zones that the sandbox has.
func (o Options) sandbox(ctx context.Context, region string, id identity, zones []ec2types.AvailabilityZone, guard *guard, deployed bool) (*awsapi.Clients, error) {
	// Its time passes while somebody waits for it.
	time := clock.NewScaled(1000)
	so := sandbox.Options{
		AccountID: id.account, Region: region,
		Principals: []sandbox.Principal{{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey, ARN: fmt.Sprintf("arn:%s:sts::%s:assumed-role/%s/%s", id.partition, id.account, sandbox.AdministratorRole, sandbox.AdministratorSession)}},
		Now:        time.Now,
	}
	usual := sandbox.New(so)
	err := usual.Account().Do(func(tx *account.Tx) error {
		so.Zones = slices.Clone(tx.Zones())
		return nil
	})
	if err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for i, z := range so.Zones {
		for _, real := range zones {
			if aws.ToString(real.ZoneId) == z.ID {
				so.Zones[i].Name = aws.ToString(real.ZoneName)
			}
		}
		if taken[so.Zones[i].Name] {
			so.Zones[i].Name = fmt.Sprintf("%s%c", region, 'z'-i)
		}
		taken[so.Zones[i].Name] = true
	}
	slices.SortFunc(so.Zones, func(a, b account.Zone) int { return strings.Compare(a.Name, b.Name) })
	box := sandbox.New(so)
	clients := func(guard func(*http.Request) error) (*awsapi.Clients, error) {
		return awsapi.New(ctx, awsapi.Options{
			Region: region, Endpoint: "https://sandbox.invalid", Clock: time, HTTPClient: handlerClient{box}, Guard: guard,
			Credentials: credentials.NewStaticCredentialsProvider(sandbox.AccessKeyID, sandbox.SecretAccessKey, ""),
		})
	}
	if deployed && o.Deploy != nil {
		own, err := clients(nil)
		if err == nil {
			err = o.Deploy(ctx, box, own)
		}
		if err != nil {
			return nil, fmt.Errorf("make the deployment in the sandbox: %w", err)
		}
	}
	return clients(guard.check)
}

// compare holds what was found on both sides against each other.
func compare(p Probe, there *side, missing string, here *side, lacking string) Result {
	r := Result{Probe: p, Differences: []Difference{}, Unseen: []Unseen{}}
	for _, s := range []struct {
		name string
		side *side
		all  string
	}{{"account", there, missing}, {"sandbox", here, lacking}} {
		if s.all != "" {
			r.Unseen = append(r.Unseen, Unseen{Side: s.name, Why: s.all})
		}
		for _, name := range slices.Sorted(maps.Keys(s.side.unseen)) {
			r.Unseen = append(r.Unseen, Unseen{Name: name, Side: s.name, Why: s.side.unseen[name]})
		}
	}
	if missing != "" || lacking != "" {
		return r
	}
	names := slices.Collect(maps.Keys(here.facts))
	if !p.Partial {
		names = append(names, slices.Collect(maps.Keys(there.facts))...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if there.missed(name) || here.missed(name) {
			continue
		}
		r.Compared++
		if a, b := there.facts[name], here.facts[name]; a != b {
			r.Differences = append(r.Differences, Difference{name, a, b})
		}
	}
	return r
}

// nothing says that there is nothing to look at.
type nothing string

func (n nothing) Error() string { return string(n) }

// why says in a few words why something could not be looked at.
func why(err error) string {
	var none nothing
	switch {
	case errors.As(err, &none):
		return string(none)
	case awsapi.IsDenied(err):
		return "denied: " + denied(awsapi.Message(err))
	case awsapi.Code(err) == account.CodeNotModelled:
		return "not modelled: " + awsapi.Message(err)
	}
	return err.Error()
}

// denied leaves out the encoded part of a refusal, which is long.
func denied(message string) string {
	short, _, _ := strings.Cut(message, "Encoded authorization failure message")
	return strings.TrimSpace(short)
}
