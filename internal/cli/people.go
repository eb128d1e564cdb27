package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/bundle"
	platformcharts "github.com/poolhouse/poolhouse/charts"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks/controlplane"
	"github.com/poolhouse/poolhouse/sandbox/entrance"
	"github.com/poolhouse/poolhouse/sandbox/front"
	"github.com/poolhouse/poolhouse/sandbox/images"
	"github.com/poolhouse/poolhouse/sandbox/kubernetesapi"
	"github.com/poolhouse/poolhouse/sandbox/objects"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/rds/rows"
)

// peopleFlags ask a rehearsal for Kubernetes, and say what runs there.
type peopleFlags struct {
	kubernetes bool
	bundle     string
	values     []string
}

func (f *peopleFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.kubernetes, "kubernetes", false, "install a bundle's charts in a real Kubernetes; building that takes 10 minutes or more, once")
	c.Flags().StringVar(&f.bundle, "bundle", "", "with --kubernetes: the bundle (default the sample, in a checkout of poolhouse)")
	c.Flags().StringArrayVar(&f.values, "values", nil, "with --kubernetes: values of a chart, CHART=FILE; may be given several times")
}

// check refuses what the flags can't be beside others.
func (f *peopleFlags) check(o rehearse.Options, permissions bool) error {
	var faults []error
	if !f.kubernetes {
		if f.bundle != "" {
			faults = append(faults, errors.New("--bundle is of Kubernetes, and without --kubernetes there is none"))
		}
		if len(f.values) > 0 {
			faults = append(faults, errors.New("--values is of a bundle's charts, and without --kubernetes none is installed"))
		}
		return usage(faults)
	}
	for _, other := range []struct {
		flag  string
		given bool
	}{{"--keep", o.Keep}, {"--faults", len(o.Faults) > 0}, {"--record and --policies", permissions}} {
		if other.given {
			faults = append(faults, fmt.Errorf("--kubernetes goes without %s: charts are installed in a copy of the account, by somebody who may do anything", other.flag))
		}
	}
	return usage(faults)
}

// rehearsedReleaseTime is how long a release may take to become ready in a rehearsal.
const rehearsedReleaseTime = 3 * time.Minute

// peopling is what it takes to have pods run in a copy of an account.
type peopling struct {
	app  *app
	file string
	// programs are of Kubernetes, of what runs pods, of the registry, and of Helm.
	kubernetes, pods, registry, helm string

	// without are servers that are left out.
	without   []string
	authority *front.Authority

	name     string // of the bundle
	contents *bundle.Contents
	texts    valuesLayers
	// sources is the folder of the sample, or ""; making is closed once its contents are
	// there, or wrong is why they can't be.
	sources string
	making  chan struct{}
	wrong   error
}

// people finds and builds what it takes to have a bundle's pods run in a copy of a
// rehearsal's account, before anything is begun; the sample is made meanwhile. Done is for
// when it was used.
func (a *app) people(cmd *cobra.Command, file string, c *config.Config, f peopleFlags, without []string) (open func(context.Context, *sandbox.Sandbox, *architecture.Architecture) (*rehearse.Platform, error), done func() error, err error) {
	p := &peopling{app: a, file: file, without: without}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.done())
		}
	}()
	ctx := cmd.Context()
	var faults []error
	for _, want := range []struct {
		program *string
		find    func(building func(folder string)) (string, error)
		says    string
	}{
		{&p.kubernetes, func(b func(string)) (string, error) { return plane.Program(ctx, controlplane.Plane, b) }, "Kubernetes in %s, once: that takes 10 minutes or more"},
		{&p.pods, func(b func(string)) (string, error) {
			return plane.Find(ctx, "planes/"+controlplane.Plane, podsProgram, b)
		}, "what runs pods in %s, once"},
		{&p.registry, func(b func(string)) (string, error) { return plane.Program(ctx, images.Program, b) }, "the registry in %s, once"},
		{&p.helm, func(b func(string)) (string, error) { return plane.Find(ctx, "releases", releasesProgram, b) }, releasesProgram + " in %s, once: that takes a few minutes"},
	} {
		program, err := want.find(func(folder string) { fmt.Fprintf(a.Err, "Building "+want.says+".\n", folder) })
		if ctx.Err() != nil {
			return nil, nil, errors.Join(err, context.Cause(ctx))
		}
		faults = append(faults, err)
		*want.program = program
	}
	if err := errors.Join(faults...); err != nil {
		return nil, nil, hinted{fmt.Errorf("find what --kubernetes takes: %w", err), "without --kubernetes the rehearsal takes none of it"}
	}
	if p.authority, err = front.NewAuthority(time.Now); err != nil {
		return nil, nil, err
	}
	gpus := slices.ContainsFunc(c.Compute, func(g config.NodeGroup) bool { return g.Role == config.GPU })
	known := samplebundle.PlatformCharts(gpus)
	if f.bundle != "" {
		if p.contents, err = a.wholeBundle(cmd, f.bundle); err != nil {
			return nil, nil, err
		}
		p.name, known = f.bundle, chartNames(p.contents)
	} else if err = p.sample(ctx, gpus); err != nil {
		return nil, nil, err
	}
	if p.texts, err = valuesTexts(f.values, known, c.Region); err != nil {
		return nil, nil, err
	}
	if f.bundle == "" {
		settle(p.texts, without)
	}
	return p.open, p.done, nil
}

// settle lays the settings of a rehearsal under what is given for charts of the sample.
func settle(texts valuesLayers, without []string) {
	for _, chart := range []string{platformcharts.Platform, platformcharts.Inference} {
		texts.under(chart, brief)
	}
	if _, why := atHand(without, "postgres"); why != "" {
		texts.under(platformcharts.Platform, rowless)
	}
}

// brief are values of charts of ours where load balancers know of a pod that ends
// within as many seconds: the sandbox's.
const brief = "drain: 3\n"

// rowless are values of the platform's chart where databases hold no rows: no account
// is set in them, and components don't wait for them.
const rowless = "databaseSetup: {enabled: false}\nprobes: {startup: /healthz}\n"

// sample begins to make the platform's bundle of the checkout that the working directory
// is in, with stand-ins of what its charts stand on, of NVIDIA's device plugin among them
// where there are GPU nodes, for this machine's processor alone.
func (p *peopling) sample(ctx context.Context, gpus bool) (err error) {
	instead := func(err error) error { return hinted{err, "name a bundle instead: --bundle FILE"} }
	if plane.Checkout() == "" {
		return hinted{usage([]error{errors.New("--kubernetes installs a bundle's charts, and there is no bundle: --bundle names none, and no checkout of poolhouse is here, where the sample is built")}), "name one: --bundle FILE; poolhouse bundle build makes bundles"}
	}
	if _, err := exec.LookPath("go"); err != nil {
		return instead(fmt.Errorf("build the sample's program: %w", err))
	}
	if p.sources, err = os.MkdirTemp("", "poolhouse-sample-"); err != nil {
		return fmt.Errorf("make the sample bundle: %w", err)
	}
	p.name, p.making = "the sample bundle", make(chan struct{})
	go func() {
		defer close(p.making)
		contents, err := p.make(ctx, gpus)
		if p.contents = contents; err != nil {
			p.wrong = instead(err)
		}
	}()
	return nil
}

// make makes the sample in its folder.
func (p *peopling) make(ctx context.Context, gpus bool) (*bundle.Contents, error) {
	sources := filepath.Join(p.sources, "sources")
	built := sync.OnceValues(func() ([]byte, error) { return samplebundle.Build(runtime.GOARCH) })
	standIn := func(string) ([]byte, error) { return built() }
	o, err := samplebundle.WritePlatform(sources, samplebundle.BuildPlatform, p.authority.PEM(), runtime.GOARCH)
	if err == nil {
		err = samplebundle.Prerequisites(sources, standIn, &o, runtime.GOARCH)
	}
	if err == nil && gpus {
		err = samplebundle.DevicePlugin(sources, standIn, &o, runtime.GOARCH)
	}
	if err != nil {
		return nil, err
	}
	// Its layers are compressed already.
	name := filepath.Join(p.sources, "sample.tar")
	if _, err := bundle.Build(ctx, name, o); err != nil {
		return nil, err
	}
	c, err := bundle.Read(ctx, name, bundle.Options{})
	if err == nil && len(c.Faults) > 0 {
		err = &bundleError{name, c.Faults}
	}
	return c, err
}

// made waits until the bundle is there.
func (p *peopling) made() error {
	if p.making != nil {
		<-p.making
	}
	return p.wrong
}

func (p *peopling) done() error {
	if p.sources == "" {
		return nil
	}
	_ = p.made() // who opens the platform is told
	return os.RemoveAll(p.sources)
}

// open makes the copy, with a registry and a Kubernetes behind it, and with objects, rows
// and users where servers of these are at hand.
func (p *peopling) open(ctx context.Context, box *sandbox.Sandbox, arch *architecture.Architecture) (_ *rehearse.Platform, err error) {
	r := &reports{}
	var closers []func() error
	end := func() error {
		var errs []error
		for _, c := range slices.Backward(closers) {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	out := &rehearse.Platform{
		Roots: p.authority.Pool(), Bundle: p.name, Reports: p.sources != "",
		Transfers: p.transfers, Releases: p.helm, Problem: r.err, Close: end,
	}
	var behind planes
	if behind.images, err = images.Open(ctx, plane.Options{Program: p.registry, Died: r.add}); err != nil {
		return nil, err
	}
	closers = append(closers, behind.close)
	if program, _ := atHand(p.without, objects.Plane); program != "" {
		if behind.objects, err = objects.Open(ctx, plane.Options{Program: program, Died: r.add}); err != nil {
			return nil, err
		}
	}
	var sites map[string]string
	if arch.Config.Access.SSO.Enabled {
		program, why := atHand(p.without, "oidc")
		if out.NoUsers = why; program != "" {
			var ending func() error
			if sites, out.Users, ending, err = identities(ctx, arch, program, r); err != nil {
				return nil, err
			}
			closers = append(closers, ending)
		}
	}
	e := entrance.New(entrance.Options{Authority: p.authority, Sites: sites, Report: r.add})
	closers = append(closers, e.Close)
	copied := box.CloneWith(func(o *sandbox.Options) {
		o.Layers, o.TargetHealth = behind.images, e.TargetHealth
		if behind.objects != nil {
			o.Objects = behind.objects
		}
	})
	registry, err := behind.registry(copied)
	if err != nil {
		return nil, err
	}
	if err := e.Attach(entrance.Account{
		Account: copied.Account(), Region: copied.Region(), API: copied, Now: nowOf(copied, r), Faults: copied.Faults,
		Registry: map[string]http.Handler{registry.Host(): registry, registry.DownloadHost(): registry},
	}); err != nil {
		return nil, err
	}
	proxied, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the copy: %w", err)
	}
	go func() { _ = e.ServeProxy(proxied) }() // it ends with Close
	named, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the copy: %w", err)
	}
	go func() { _ = e.Serve(named) }() // it ends with Close
	var databases *rows.Databases
	program, why := atHand(p.without, "postgres")
	if out.NoRows = why; program != "" {
		if databases, err = rows.Run(ctx, copied.Account(), rows.Options{
			Program:     func(context.Context) (string, error) { return program, nil },
			Certificate: func(name string) (certificate, key []byte, err error) { return issued(p.authority, name) }, Report: r.add,
		}); err != nil {
			return nil, err
		}
		closers = append(closers, databases.Close)
	}
	resolver, err := names{listen: "127.0.0.1:0"}.open(ctx, copied.Account(), databases.Address)
	if err != nil {
		return nil, err
	}
	closers = append(closers, resolver.Close)
	clusters, err := controlplane.Run(ctx, controlplane.Options{
		Account: copied.Account(), AWS: copied, Call: copied.Call, Report: r.add,
		Program: func(context.Context) (string, error) { return p.kubernetes, nil },
		Pods: func(context.Context) (*controlplane.Pods, error) {
			return &controlplane.Pods{Program: p.pods, Names: named.Addr().String(), Databases: resolver.Addr().String(), Authority: string(p.authority.PEM()), Region: copied.Region()}, nil
		},
	})
	if err != nil {
		return nil, err
	}
	closers = append(closers, clusters.Close)
	e.Behind(clusters)
	api := kubernetesapi.New(kubernetesapi.Options{})
	closers = append(closers, api.Close)
	api.Attach(copied.Account())
	api.Behind(clusters.Address)
	if err := p.made(); err != nil {
		return nil, err
	}
	h := &charts{chartFlags: chartFlags{timeout: rehearsedReleaseTime}, file: p.file, contents: p.contents, texts: p.texts, keep: true}
	out.Box, out.API, out.Proxy = copied, api, &url.URL{Scheme: "http", Host: proxied.Addr().String()}
	out.Charts, out.Install = releaseNames(p.contents), p.app.install(h)
	out.Answers = func(ctx context.Context) error {
		if clusters.Address(ctx, arch.ClusterName()) == "" {
			return errors.Join(fmt.Errorf("no Kubernetes runs behind the cluster %s", arch.ClusterName()), context.Cause(ctx))
		}
		return nil
	}
	out.Status = func(ctx context.Context, t deploy.Target) (list []cluster.Revision, err error) {
		err = p.app.releasesTold(ctx, t, p.file, nil, func(r cluster.Releases) error {
			list, err = r.Status(ctx)
			return err
		})
		return list, err
	}
	return out, nil
}

// transfers are what create --bundle pushes.
func (p *peopling) transfers(t deploy.Target) []deploy.Transfer {
	list := []deploy.Transfer{p.app.beside(t, "", p.contents, nil)}
	if b := checkpointsOf(p.contents); len(b.there) > 0 {
		list = append(list, b.beside("", nil))
	}
	return list
}

// nowOf is the clock of a sandbox's account.
func nowOf(box *sandbox.Sandbox, r *reports) func() time.Time {
	return func() (at time.Time) {
		if err := box.Account().Do(func(tx *account.Tx) error {
			tx.Reads()
			at = tx.Now()
			return nil
		}); err != nil {
			r.add(err)
		}
		return at
	}
}
