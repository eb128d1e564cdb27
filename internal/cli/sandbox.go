package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks/controlplane"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/rds/rows"
	"github.com/poolhouse/poolhouse/sandbox/resolver"
	"github.com/poolhouse/poolhouse/sandbox/state"
)

func (a *app) sandboxCommand() *cobra.Command {
	var o sandboxOptions
	c := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve a simulated AWS account to other clients",
		Long: "sandbox serves a simulated AWS account on a loopback address until it is\n" +
			"interrupted: for the AWS CLI, SDKs, other tools, and poolhouse itself. It prints\n" +
			"the environment variables to set. Nothing of it is kept, unless --state DIR says\n" +
			"where: then every request that was answered outlasts the process, however that\n" +
			"ends, and the account goes on from there the next time. Its clock stands still\n" +
			"meanwhile.\n\n" +
			"With --for FILE the account is the one that a deployment.yaml is for: in its\n" +
			"region, with what the file names and does not make, such as the SSO secrets.\n\n" +
			"With --speed N what takes time on AWS takes 1/N of it. Only while an operation\n" +
			"is in flight does the account's clock run fast; otherwise it goes at the wall's\n" +
			"pace, so credentials last, and what is due on a date is not due early.\n\n" +
			"Names of its hosted zones, load balancers and databases are answered by DNS at\n" +
			"the loopback address that it prints, by UDP and TCP.\n\n" +
			"Load balancers carry traffic: their names, and AWS's, lead to them through a\n" +
			"proxy on a loopback address, with certificates of an authority of the sandbox's\n" +
			"own. Behind targets stands what --target says. Where --for FILE has single\n" +
			"sign-on, its provider is one of the sandbox's, unless --without oidc.\n\n" +
			"What the objects of its S3 hold is in a server of its own, a program that is\n" +
			"found in PATH or built from a checkout, once. --without s3 leaves it out, and\n" +
			"then objects are in the account, up to 64 MiB each.\n\n" +
			"So is what images in its ECR consist of: docker, crane and others push and pull\n" +
			"at the registry's own name, or at the loopback address that it prints, with\n" +
			"tokens of aws ecr get-login-password. --without ecr leaves it out.\n\n" +
			"Behind the endpoints of its clusters runs Kubernetes, if its program is at hand;\n" +
			"--kubernetes builds it from a checkout, once. Pods run as processes of this machine,\n" +
			"in namespaces of their own, where it is Linux and lets them; those that can't run\n" +
			"say \"process not run\" and why. --without kubernetes leaves it out.\n\n" +
			"With --faults FILE things go wrong in it, and standard error says which.",
		Example: "  poolhouse sandbox --speed 60 --for deployment.yaml\n  poolhouse sandbox --listen 127.0.0.1:0 --region eu-central-1\n  poolhouse sandbox --state ~/account\n  poolhouse sandbox --for deployment.yaml --target 10.0.64.10:8443=127.0.0.1:9443",
		GroupID: "try", Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.given = cmd.Flags().Changed
			var err error
			if o.sources, err = o.faults.sources(); err != nil {
				return err
			}
			l, err := loopback(cmd.Context(), "listen", o.listen)
			if err != nil {
				return err
			}
			p, err := o.playground(cmd.Context(), a)
			if err != nil {
				return errors.Join(err, l.Close())
			}
			return errors.Join(a.serve(cmd.Context(), l, p, o.speed), p.close())
		},
	}
	c.Flags().StringVar(&o.listen, "listen", usualEndpoint, "loopback address and port; port 0 takes a free one")
	c.Flags().StringVar(&o.region, "region", "us-east-1", "AWS region")
	c.Flags().StringVar(&o.file, "for", "", "deployment.yaml whose account it is")
	c.Flags().Float64Var(&o.speed, "speed", 1, "how much faster than AWS operations are")
	c.Flags().Uint64Var(&o.seed, "seed", 0, "vary ids and durations; 0 means typical durations")
	c.Flags().BoolVar(&o.kubernetes, "kubernetes", false, "build the Kubernetes behind clusters if it isn't there: 10 minutes or more, once")
	c.Flags().BoolVar(&o.fresh, "fresh", false, "an account never used before: no service-linked roles, no default VPC")
	c.Flags().StringVar(&o.names.listen, "dns", "127.0.0.1:0", "loopback address and port where names of the account are answered; port 0 takes a free one")
	c.Flags().BoolVar(&o.names.private, "private-zones", false, "answer for private hosted zones as well, as from within their VPCs")
	o.faults.register(c)
	o.entrance.register(c)
	c.AddCommand(a.calibrateCommand(), a.sandboxStatusCommand())
	c.Flags().StringVar(&o.state, "state", "", "folder that keeps the account; made if it isn't there")
	return c
}

type sandboxOptions struct {
	listen, region, file, state string
	speed                       float64
	seed                        uint64
	fresh, kubernetes           bool
	given                       func(flag string) bool
	faults                      faultFlags
	entrance                    entranceFlags
	sources                     []rehearse.Faults
	names                       names
}

// playground is a sandbox with what belongs to it outside of its API.
type playground struct {
	box   *sandbox.Sandbox
	doors *rehearse.Doors
	clock *clock.Scaled
	store *state.Store // nil if nothing is kept
	kept  *kept
	names *resolver.Server
	// databases are the servers behind database instances; nil if they are left out.
	databases *rows.Databases
	// clusters are the control planes behind clusters; nil if there are none.
	clusters *controlplane.Clusters
	visit    *visit

	planes  planes
	trouble trouble
}

// kept is what is said of an account that is kept.
type kept struct {
	Folder string `json:"folder"`
	// Found tells that the account was there, as of Time in its own time.
	Found     bool      `json:"found"`
	Time      time.Time `json:"time,omitzero"`
	Resources int       `json:"resources"`
	Stacks    int       `json:"stacks"`
	// Busy are the stacks with an operation in flight.
	Busy []string `json:"busy"`
	// Dropped tells that the last request was cut off and left no trace.
	Dropped bool `json:"dropped"`
	// Closed are what can't be reached any more, and why.
	Closed []string `json:"closed"`
}

func (p *playground) close() error {
	// Load balancers deliver what they have logged.
	err := errors.Join(p.visit.close(), p.doors.Close())
	if p.names != nil {
		err = errors.Join(err, p.names.Close())
	}
	if p.databases != nil {
		err = errors.Join(err, p.databases.Close())
	}
	if p.clusters != nil {
		err = errors.Join(err, p.clusters.Close())
	}
	err = errors.Join(err, p.planes.close())
	if p.store != nil {
		err = errors.Join(err, p.store.Close())
	}
	return err
}

// look says what a store has found.
func look(store *state.Store) *kept {
	k := &kept{Folder: store.Dir(), Dropped: store.Dropped(), Busy: []string{}, Closed: []string{}}
	m := store.Found()
	if m == nil {
		return k
	}
	k.Found, k.Time = true, m.Reached
	for _, r := range m.Resources {
		switch {
		case r.Type == "cloudformation:stack" && r.Status == "DELETE_COMPLETE":
		case r.Type == "cloudformation:stack":
			k.Stacks++
			if strings.HasSuffix(r.Status, "_IN_PROGRESS") {
				_, name, _ := strings.Cut(r.ID, ":stack/")
				name, _, _ = strings.Cut(name, "/")
				k.Busy = append(k.Busy, name)
			}
		case r.Owner != "" && !strings.HasSuffix(r.Owner, ".amazonaws.com"):
			k.Resources++
		}
	}
	return k
}

// other refuses flags that ask for another account than was found.
func (o sandboxOptions) other(m *account.Image, so sandbox.Options) error {
	hint := "leave the flag out, or keep the other account in another folder"
	say := func(format string, args ...any) error {
		return hinted{&usageError{fmt.Errorf(format+": %s keeps account %s in %s", append(args, o.state, m.ID, m.Region)...)}, hint}
	}
	switch {
	case o.file != "" && (m.Region != so.Region || m.ID != so.AccountID):
		return say("%s is for account %s in %s", o.file, so.AccountID, so.Region)
	case o.given("region") && o.region != m.Region:
		return say("--region is %s", o.region)
	case o.given("seed") && o.seed != m.Seed:
		return say("--seed is %d and was %d", o.seed, m.Seed)
	case o.given("fresh") && o.fresh != m.Fresh:
		return say("--fresh is %v and was %v", o.fresh, m.Fresh)
	}
	return nil
}

// playground makes the account, with what a file presupposes, or takes the one
// that was kept.
func (o sandboxOptions) playground(ctx context.Context, a *app) (_ *playground, err error) {
	switch {
	case o.speed < 1:
		return nil, &usageError{fmt.Errorf("--speed is 1 or more, not %g", o.speed)}
	case !regionForm().MatchString(o.region):
		return nil, &usageError{fmt.Errorf("--region %q is no AWS region", o.region)}
	case o.file != "" && o.given("region"):
		return nil, &usageError{errors.New("the file given by --for names the region; leave --region out")}
	case o.given("state") && o.state == "":
		return nil, &usageError{errors.New("--state needs a folder")}
	}
	so := sandbox.Options{Region: o.region}
	var arch *architecture.Architecture
	if o.file != "" {
		if arch, err = load(o.file); err != nil {
			return nil, err
		}
		so = rehearse.SandboxOptions(arch)
	}
	so.Seed, so.Fresh = o.seed, o.fresh
	plan, err := o.plan(so.Region, arch)
	if err != nil {
		return nil, err
	}
	p := &playground{clock: clock.NewScaled(o.speed)}
	began := p.clock.Now()
	base := began
	if o.state != "" {
		kinds, err := sandbox.Kinds()
		if err != nil {
			return nil, err
		}
		if p.store, err = state.Open(o.state, kinds); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, p.store.Close())
			}
		}()
		p.kept = look(p.store)
		if m := p.store.Found(); m != nil {
			if err := o.other(m, so); err != nil {
				return nil, err
			}
			base = m.Reached
		}
	}
	so.Now = func() time.Time { return base.Add(p.clock.Now().Sub(began)) }
	if p.visit, err = openVisit(ctx, a, o.entrance, &so, arch, o.state, p.clock.Hold, &p.trouble); err != nil {
		return nil, err
	}
	if p.doors, err = rehearse.OpenDoors(ctx, &so, arch); err != nil {
		return nil, errors.Join(err, p.visit.close())
	}
	ends := func(err error) error {
		if p.names != nil {
			err = errors.Join(err, p.names.Close())
		}
		if p.databases != nil {
			err = errors.Join(err, p.databases.Close())
		}
		return errors.Join(err, p.visit.close(), p.planes.close(), p.doors.Close())
	}
	if err := p.planes.open(ctx, o.entrance.without, o.state, &so, &p.trouble, a.Err); err != nil {
		return nil, ends(err)
	}
	if err := p.open(so, arch); err != nil {
		return nil, ends(err)
	}
	if err := p.planes.sweep(ctx, p.box.Account()); err != nil {
		return nil, ends(err)
	}
	registry, err := p.planes.registry(p.box)
	if err != nil {
		return nil, ends(err)
	}
	if err := p.visit.attach(p.box, registry, so.Now, p.clock); err != nil {
		return nil, ends(err)
	}
	if !slices.Contains(o.entrance.without, "postgres") {
		if p.databases, err = openDatabases(ctx, a, p.box, p.visit.authority, o.state, len(plan.Faults) > 0); err != nil {
			return nil, ends(err)
		}
	}
	if p.names, err = o.names.open(ctx, p.box.Account(), p.databases.Address); err != nil {
		return nil, ends(err)
	}
	if p.clusters, err = openClusters(ctx, a, p.box, o, p.visit, p.names.Addr().String()); err != nil {
		return nil, ends(err)
	}
	if p.clusters != nil {
		p.doors.API.Behind(p.clusters.Address)
		p.visit.entrance.Behind(p.clusters)
	}
	pacer := rehearse.NewPacer(p.box.Account(), p.clock)
	p.doors.Hold(p.clock)
	if len(plan.Faults) > 0 {
		show := view.NewRehearsal(a.Err, a.output == "json", a.verbose)
		p.box.Break(fault.New(plan, fault.Options{Seed: o.seed, Sleep: p.clock.SleepHeld, Kill: p.kill(a.Err), Fired: func(f fault.Firing) { show.Event(rehearse.FaultFired{Firing: f}) }}))
	}
	// Whether the account can be kept, its clients are told.
	go func() { _ = pacer.Run(ctx, func(err error) { fmt.Fprintln(a.Err, err) }) }()
	return p, nil
}

// plan reads the files of faults.
func (o sandboxOptions) plan(region string, arch *architecture.Architecture) (fault.Plan, error) {
	if arch == nil {
		return rehearse.ParseFaults(o.sources, region)
	}
	return rehearse.ParseFaults(o.sources, region, arch)
}

// open puts the account behind its doors.
func (p *playground) open(so sandbox.Options, arch *architecture.Architecture) (err error) {
	if p.store == nil {
		p.box = sandbox.New(so)
	} else if p.box, err = sandbox.Open(so, p.store); err != nil {
		return err
	}
	p.trouble.box.Store(p.box)
	p.doors.Attach(p.box)
	if p.kept != nil && p.kept.Found {
		for _, err := range p.doors.Reopen() {
			p.kept.Closed = append(p.kept.Closed, err.Error())
		}
	} else if arch != nil {
		_, err = rehearse.Given(p.box, arch)
	}
	return err
}

// regionForm is how regions are named.
func regionForm() *regexp.Regexp { return regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-\d$`) }

// loopback listens on an address of this machine alone: whoever reaches the
// sandbox can use it, since its credentials are public.
func loopback(ctx context.Context, flag, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, hinted{&usageError{fmt.Errorf("--%s %s is no loopback address with a port", flag, address)}, "write 127.0.0.1:4599, or 127.0.0.1:0 for a free port"}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, hinted{&usageError{fmt.Errorf("listen on %s: %s", address, rootOf(err))}, "another sandbox may be running; --" + flag + " 127.0.0.1:0 takes a free port"}
	}
	return l, nil
}

// served is an endpoint with what is kept behind it.
type served struct {
	rehearse.Endpoint
	// Names is where DNS queries are answered.
	Names  string        `json:"dns"`
	Planes []servedPlane `json:"planes"`
	State  *kept         `json:"state,omitempty"`
	*visit
}

// print says what was found, for people.
func (k *kept) print(w io.Writer) {
	switch {
	case !k.Found:
		fmt.Fprintf(w, "The account is new, and %s keeps it.\n", k.Folder)
	default:
		fmt.Fprintf(w, "Found in %s: %d stacks, %d resources; its clock goes on from %s.\n", k.Folder, k.Stacks, k.Resources, k.Time.UTC().Format("2006-01-02 15:04:05Z"))
		if len(k.Busy) > 0 {
			fmt.Fprintf(w, "Operations go on: %s.\n", strings.Join(k.Busy, ", "))
		}
		if k.Dropped {
			fmt.Fprintln(w, "The last request was cut off before it was answered; it has left no trace.")
		}
		for _, c := range k.Closed {
			fmt.Fprintln(w, c)
		}
	}
}

// serve answers until the context ends.
func (a *app) serve(ctx context.Context, l net.Listener, p *playground, speed float64) error {
	endpoint := served{rehearse.NewEndpoint(p.box, "http://"+l.Addr().String()), p.names.Addr().String(), p.planes.served(), p.kept, p.visit}
	started := time.Now()
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: telling(rehearse.Holding(p.box, p.clock), func() (sandboxStatus, error) {
		return p.status(endpoint, started, speed)
	})}
	stop := context.AfterFunc(ctx, func() {
		// Nothing is lost with a request that is cut off.
		_ = server.Close()
	})
	defer stop()
	if err := a.print(endpoint, func() {
		fmt.Fprintf(a.Out, "A sandbox of AWS, account %s in %s, answers at %s.\n", endpoint.Account, endpoint.Region, endpoint.URL)
		end := "Ctrl-C ends it, and all that is in it."
		if p.kept != nil {
			p.kept.print(a.Out)
			end = "Ctrl-C ends it; the account is kept."
		}
		fmt.Fprint(a.Out, "In another shell:\n\n")
		view.Environment(a.Out, endpoint.Endpoint)
		printNames(a.Out, endpoint.Names)
		if p.databases != nil {
			printDatabases(a.Out, endpoint.Names)
		}
		if p.clusters != nil {
			printClusters(a.Out)
		}
		p.visit.print(a.Out)
		printPlanes(a.Out, endpoint.Planes)
		fmt.Fprintln(a.Out, "\n"+end)
	}); err != nil {
		return errors.Join(err, server.Close(), l.Close())
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve sandbox: %w", err)
	}
	return nil
}
