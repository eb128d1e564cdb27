package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/chart"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/cluster/manifests"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// releasesProgram is that which holds Helm: a module of its own, in the checkout's
// folder of releases.
const releasesProgram = "poolhouse-releases"

// helm is the program that holds Helm, which is built if need be.
func (a *app) helm(ctx context.Context) (string, error) {
	program, err := plane.Find(ctx, "releases", releasesProgram, func(folder string) {
		fmt.Fprintf(a.Err, "Building %s in %s, once: that takes a few minutes.\n", releasesProgram, folder)
	})
	if err != nil {
		return "", hinted{err, "make it, or name it by POOLHOUSE_RELEASES, and repeat the command"}
	}
	return program, nil
}

// releases has work done on the releases of a deployment, by the program that holds Helm
// and through a gateway that lasts as long.
func (a *app) releases(ctx context.Context, t deploy.Target, file string, do func(cluster.Releases) error) error {
	return a.releasesTold(ctx, t, file, func(release, text string) { view.ReleaseEvent(a.Err, a.output == "json", release, text) }, do)
}

// releasesTold is [app.releases] that tells of what happens by a function.
func (a *app) releasesTold(ctx context.Context, t deploy.Target, file string, tell func(release, text string), do func(cluster.Releases) error) error {
	program, err := a.helm(ctx)
	if err != nil {
		return err
	}
	r, err := routeTo(ctx, t, file)
	if err != nil {
		return err
	}
	g, err := cluster.OpenGateway(r, t.AWS.Clock, deploy.Tokens(t))
	if err != nil {
		return errors.Join(err, r.Close())
	}
	err = do(cluster.Releases{Program: program, Socket: g.Socket, Tell: tell})
	return errors.Join(err, g.Close(), r.Close())
}

// changing is [app.releases] for work that changes them: under the deployment's lease.
func (a *app) changing(ctx context.Context, t deploy.Target, file string, do func(context.Context, cluster.Releases) error) error {
	t.Holder.Run = rand.Text()
	t.Emit = func(e deploy.Event) {
		if s, ok := e.(deploy.Step); ok {
			view.ReleaseEvent(a.Err, a.output == "json", "", s.Text)
		}
	}
	// What the lease has to fence are the releases, and these end with the context.
	return deploy.Hold(ctx, t, func(ctx context.Context, _ deploy.Target) error {
		return a.releases(ctx, t, file, func(r cluster.Releases) error {
			r.Run = t.Holder.Run
			return do(ctx, r)
		})
	})
}

// platform are the releases of a bundle: what its charts stand on, and each chart, with
// the values that [valuesTexts] has read.
func (a *app) platform(ctx context.Context, t deploy.Target, c *bundle.Contents, texts valuesLayers) ([]cluster.Release, error) {
	found, err := deploy.Outputs(ctx, t)
	if err != nil {
		return nil, err
	}
	outputs := manifests.Outputs(found)
	first, err := cluster.NewFoundation(t.Architecture, outputs)
	var missing manifests.MissingError
	if errors.As(err, &missing) {
		return nil, hinted{err, "complete the deployment: poolhouse create " + a.file}
	}
	if err != nil {
		return nil, err
	}
	values, err := valuesOf(texts, outputs)
	if err != nil {
		return nil, err
	}
	list := []cluster.Release{first}
	var faults []error
	for _, h := range inOrder(c.Charts) {
		r := cluster.Release{Name: h.Name, Namespace: cluster.NamespaceOf(t.Architecture, h.Name), Places: cluster.Places(t.Architecture)}
		if r.Chart, err = c.Pack(ctx, h); err != nil {
			return nil, faultsOf(c.Path, err)
		}
		own, err := chartValues(r.Chart, outputs)
		if err != nil {
			faults = append(faults, fmt.Errorf("chart %s: %w", h.Name, err))
		}
		r.Values, err = cluster.ValuesOf(t.Architecture, outputs, h.Name, cluster.Over(own, values[h.Name]))
		if errors.As(err, &missing) {
			return nil, hinted{err, "complete the deployment: poolhouse create " + a.file}
		}
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, usage(faults)
}

// chartValues are those that a chart takes from the deployment by itself.
func chartValues(packed []byte, outputs manifests.Outputs) (map[string]any, error) {
	text, err := cluster.ChartValues(packed)
	if err != nil {
		return nil, err
	}
	own, err := cluster.Values(text, outputs)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", cluster.ValuesFile, err)
	}
	return own, nil
}

// inOrder are charts in the order in which they are installed: those that others stand on
// first.
func inOrder(charts []bundle.Chart) []bundle.Chart {
	return slices.SortedStableFunc(slices.Values(charts), func(a, b bundle.Chart) int { return cmp.Compare(cluster.Rank(a.Name), cluster.Rank(b.Name)) })
}

// valuesLayers are the texts of values, by chart; each lies over those before it.
type valuesLayers map[string][][]byte

// under are the layers with one more under them.
func (l valuesLayers) under(chart, text string) {
	l[chart] = append([][]byte{[]byte(text)}, l[chart]...)
}

// chartNames are the names of a bundle's charts.
func chartNames(c *bundle.Contents) (names []string) {
	for _, h := range c.Charts {
		names = append(names, h.Name)
	}
	return names
}

// valuesTexts reads the files of --values, CHART=FILE, for charts of a bundle in a region.
// What is no YAML is refused, and what would have pods not trust the database.
func valuesTexts(given, charts []string, region string) (valuesLayers, error) {
	out := valuesLayers{}
	var faults []error
	for _, g := range given {
		name, file, ok := strings.Cut(g, "=")
		switch {
		case !ok || file == "":
			faults = append(faults, fmt.Errorf("--values %s is not CHART=FILE", g))
			continue
		case !slices.Contains(charts, name):
			faults = append(faults, fmt.Errorf("--values names the chart %s, which the bundle doesn't have", name))
			continue
		case out[name] != nil:
			faults = append(faults, fmt.Errorf("--values names the chart %s twice", name))
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			faults = append(faults, fmt.Errorf("read the values of %s in %s: %w", name, file, err))
		} else if err := cmp.Or(cluster.CheckValues(text), cluster.CheckTrust(region, name, text)); err != nil {
			faults = append(faults, fmt.Errorf("read the values of %s in %s: %w", name, file, err))
		}
		out[name] = [][]byte{text}
	}
	return out, usage(faults)
}

// valuesOf are the values of charts, with the outputs that they name.
func valuesOf(texts valuesLayers, outputs manifests.Outputs) (map[string]map[string]any, error) {
	out := map[string]map[string]any{}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		for _, text := range texts[name] {
			layer, err := cluster.Values(text, outputs)
			if err != nil {
				faults = append(faults, fmt.Errorf("read the values of %s: %w", name, err))
			}
			out[name] = cluster.Over(out[name], layer)
		}
	}
	return out, usage(faults)
}

// located has the pods of releases pull what the deployment's registry has, by digest.
// What it doesn't have is refused.
func located(ctx context.Context, t deploy.Target, c *bundle.Contents, list []cluster.Release, rendered []cluster.Rendered) error {
	g, err := images.Open(ctx, t.Architecture, t.AWS)
	if err != nil {
		return err
	}
	var refs []chart.Reference
	for _, r := range rendered {
		for _, i := range r.Images {
			refs = append(refs, chart.Reference{Image: i.Image, Place: i.Place})
		}
	}
	at, faults, err := g.Locate(ctx, c, refs)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return &bundleError{c.Path, faults}
	}
	// Each gets only its own, so that a new image upgrades none that doesn't run it.
	for i, r := range rendered {
		list[i].Images = map[string]string{}
		for _, used := range r.Images {
			list[i].Images[used.Image] = at[used.Image]
		}
	}
	return nil
}

// displaced refuses what would take releases' namespaces away, or make them twice.
func displaced(t deploy.Target, file string, list []cluster.Release, there []cluster.Revision) error {
	problems := cluster.Displaced(t.Architecture, list, there)
	if len(problems) == 0 {
		return nil
	}
	for i := range problems {
		problems[i].Next += ": poolhouse cluster uninstall -f " + quoted(file) + " " + strings.TrimPrefix(problems[i].Place, "release ")
	}
	return &cluster.ReleasesError{Problems: problems, Refused: true}
}

// prepared renders releases with the images that the registry has, and refuses, before
// anything is begun, what can't be applied as a whole.
func prepared(ctx context.Context, t deploy.Target, file string, c *bundle.Contents, list []cluster.Release, r cluster.Releases) ([]cluster.Rendered, error) {
	there, err := r.Status(ctx)
	if err != nil {
		return nil, err
	}
	if err := displaced(t, file, list, there); err != nil {
		return nil, err
	}
	for _, l := range cluster.Left(list, there) {
		r.Tell(l.Name, "is in "+l.Namespace+" but not in the bundle; it stays")
	}
	rendered, err := r.Render(ctx, list)
	if err != nil {
		return nil, err
	}
	if problems := cluster.Refused(t.Architecture, rendered); len(problems) > 0 {
		return nil, &cluster.ReleasesError{Problems: problems, Refused: true}
	}
	if err := located(ctx, t, c, list, rendered); err != nil {
		return nil, err
	}
	return r.Render(ctx, list)
}

func (a *app) clusterApplyCommand() *cobra.Command {
	var (
		file      string
		values    []string
		timeout   time.Duration
		yes, keep bool
		dry       bool
	)
	c := &cobra.Command{
		Use:   "apply -f FILE BUNDLE",
		Short: "Install or upgrade a bundle's charts in the deployment's cluster",
		Long: "apply makes what the charts stand on: namespaces that refuse unsafe pods, network\n" +
			"policies, service accounts with their roles, the class of encrypted volumes. Then it\n" +
			"installs or upgrades the bundle's charts, one after the other, and waits until each\n" +
			"is ready. Images are pulled from the deployment's registry by digest, and pods go to\n" +
			"the nodes of their kind. Nothing is begun before all charts render and all images\n" +
			"are there. What does not become ready is rolled back, and the reason said. It can be\n" +
			"repeated after an error, an interrupt or a kill.",
		Example: "  poolhouse cluster apply -f deployment.yaml acme.tar.gz\n  poolhouse cluster apply -f deployment.yaml --values platform=values.yaml acme.tar.gz",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("cluster apply takes one bundle, for example: poolhouse cluster apply -f deployment.yaml bundle.tar.gz")
			}
			return nil
		},
		ValidArgsFunction: anyFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if timeout < time.Second {
				return usage([]error{fmt.Errorf("--timeout %v is less than a second", timeout)})
			}
			t, contents, err := a.imagesOf(cmd, file, args[0], true)
			if err != nil {
				return err
			}
			texts, err := valuesTexts(values, chartNames(contents), t.Architecture.Config.Region)
			if err != nil {
				return err
			}
			list, err := a.platform(ctx, t, contents, texts)
			if err != nil {
				return err
			}
			var rendered []cluster.Rendered
			if err := a.releases(ctx, t, file, func(r cluster.Releases) (err error) {
				rendered, err = prepared(ctx, t, file, contents, list, r)
				return err
			}); err != nil {
				return err
			}
			if dry {
				return a.print(rendered, func() { view.Manifests(a.Out, rendered) })
			}
			if err := a.confirm(ctx, yes, fmt.Sprintf("Install or upgrade %s in %s?", view.Count(len(list), "release"), t.Architecture.ClusterName())); err != nil {
				return err
			}
			var applied []cluster.Applied
			if err := a.changing(ctx, t, file, func(ctx context.Context, r cluster.Releases) (err error) {
				r.Timeout, r.KeepFailed = timeout, keep
				applied, err = r.Apply(ctx, list)
				return err
			}); err != nil {
				return stopped(ctx, err, repeated(cmd, args))
			}
			return a.print(applied, func() { view.Applied(a.Out, applied) })
		},
	}
	fileFlag(c, &file)
	c.Flags().StringArrayVar(&values, "values", nil, "values of a chart: CHART=FILE; may be given several times")
	c.Flags().DurationVar(&timeout, "timeout", defaultReleaseTime, "how long each chart may take to become ready")
	c.Flags().BoolVar(&keep, "keep-failed", false, "leave a release that failed as it is, to look at it")
	c.Flags().BoolVar(&dry, "dry-run", false, "print what would be applied, and change nothing")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// defaultReleaseTime is how long a release may take to become ready: model servers load
// their checkpoint first.
const defaultReleaseTime = 15 * time.Minute

// stopped says how to go on after an interrupt.
func stopped(ctx context.Context, err error, resume string) error {
	if wasInterrupted(ctx, err) {
		return &transferStoppedError{"interrupted; releases that are ready stay, and one that was in work goes on from where it is", resume, ErrInterrupted}
	}
	return err
}

func (a *app) clusterStatusCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "status -f FILE",
		Short: "Show the releases in the deployment's cluster, and why pods are not ready",
		Long: "status lists what cluster apply has installed, with its revision, and the pods of each;\n" +
			"of a pod that is not ready it says why. It exits with 3 if a release is not deployed\n" +
			"or a pod not ready.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := a.clusterOf(cmd.Context(), file)
			if err != nil {
				return err
			}
			var list []cluster.Revision
			if err := a.releases(cmd.Context(), t, file, func(r cluster.Releases) (err error) {
				list, err = r.Status(cmd.Context())
				return err
			}); err != nil {
				return err
			}
			if err := a.print(list, func() { view.Releases(a.Out, t.Architecture.ClusterName(), list) }); err != nil {
				return err
			}
			if slices.ContainsFunc(list, func(r cluster.Revision) bool { return r.Status != "deployed" || len(r.Waits) > 0 }) {
				return silent{Pending}
			}
			return nil
		},
	}
	fileFlag(c, &file)
	return c
}

func (a *app) clusterHistoryCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "history -f FILE RELEASE",
		Short: "List the revisions of a release",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("cluster history takes one release, for example: poolhouse cluster history -f deployment.yaml platform")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.clusterOf(cmd.Context(), file)
			if err != nil {
				return err
			}
			var list []cluster.Revision
			if err := a.releases(cmd.Context(), t, file, func(r cluster.Releases) (err error) {
				list, err = r.History(cmd.Context(), args[0])
				return err
			}); err != nil {
				return err
			}
			return a.print(list, func() { view.Revisions(a.Out, list) })
		},
	}
	fileFlag(c, &file)
	return c
}

func (a *app) clusterUninstallCommand() *cobra.Command {
	var (
		file    string
		timeout time.Duration
		yes     bool
	)
	c := &cobra.Command{
		Use:   "uninstall -f FILE [RELEASE...]",
		Short: "Remove releases from the deployment's cluster",
		Long: "uninstall removes releases that cluster apply has installed, the last one first, and\n" +
			"waits until what they consisted of is gone. Without a name it removes all of them,\n" +
			"with their namespaces and the volumes that were claimed there.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if timeout < time.Second {
				return usage([]error{fmt.Errorf("--timeout %v is less than a second", timeout)})
			}
			if slices.Contains(args, cluster.Foundation) {
				return usage([]error{errors.New(cluster.Foundation + ": it holds the namespaces of all releases; uninstall without a name removes everything")})
			}
			t, err := a.clusterOf(ctx, file)
			if err != nil {
				return err
			}
			what := "Remove all releases, their namespaces and the volumes claimed there"
			if len(args) > 0 {
				what = "Remove " + strings.Join(args, ", ")
			}
			if err := a.confirm(ctx, yes, what+" from "+t.Architecture.ClusterName()+"?"); err != nil {
				return err
			}
			var removed []cluster.Applied
			if err := a.changing(ctx, t, file, func(ctx context.Context, r cluster.Releases) (err error) {
				r.Timeout = timeout
				removed, err = r.Uninstall(ctx, args)
				return err
			}); err != nil {
				return stopped(ctx, err, repeated(cmd, args))
			}
			return a.print(removed, func() { view.Applied(a.Out, removed) })
		},
	}
	fileFlag(c, &file)
	c.Flags().DurationVar(&timeout, "timeout", defaultReleaseTime, "how long each release may take to be gone")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// releaseFaults are the problems of releases as faults of a file.
func releaseFaults(e *cluster.ReleasesError) (list []config.Fault) {
	for _, p := range e.Problems {
		list = append(list, config.Fault{Path: p.Place, Reason: p.Reason, Fix: p.Next})
	}
	return list
}
