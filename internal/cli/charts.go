package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

// chartFlags say how the charts of a bundle are installed by create.
type chartFlags struct {
	none    bool
	values  []string
	timeout time.Duration
}

func (f *chartFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.none, "no-charts", false, "install none of the bundle's charts; cluster apply does so later")
	c.Flags().StringArrayVar(&f.values, "values", nil, "values of a chart of the bundle: CHART=FILE; may be given several times")
	c.Flags().DurationVar(&f.timeout, "timeout", defaultReleaseTime, "how long each chart may take to become ready")
}

// check refuses what the flags can't be, with the bundle that is given, if one is.
func (f *chartFlags) check(c *cobra.Command, bundle string) error {
	var faults []error
	for _, name := range []string{"no-charts", "values", "timeout"} {
		if bundle == "" && c.Flag(name).Changed {
			faults = append(faults, fmt.Errorf("--%s is of a bundle's charts, and without --bundle there are none", name))
		}
	}
	if f.none && len(f.values) > 0 {
		faults = append(faults, errors.New("--values is of charts, and --no-charts installs none"))
	}
	if f.timeout < time.Second {
		faults = append(faults, fmt.Errorf("--timeout %v is less than a second", f.timeout))
	}
	return usage(faults)
}

// charts are those of a bundle that a run installs when its stacks are complete.
type charts struct {
	chartFlags
	file     string
	contents *bundle.Contents
	// texts are what the files of --values held when the run began.
	texts valuesLayers
	// keep leaves what failed as it is.
	keep bool
	// begun tells that the installation began.
	begun bool
}

// chartsOf are the charts that a run installs, or nil. What can be known to stand in
// the way is refused before the run begins: values, and the program that holds Helm.
func (a *app) chartsOf(ctx context.Context, f chartFlags, file string, c *bundle.Contents) (*charts, error) {
	if f.none || len(c.Charts) == 0 {
		return nil, nil
	}
	loaded, err := config.LoadFile(file)
	if err != nil {
		return nil, err
	}
	texts, err := valuesTexts(f.values, chartNames(c), loaded.Region)
	if err != nil {
		return nil, err
	}
	if _, err := a.helm(ctx); err != nil {
		return nil, hinted{err, "make it, or name it by POOLHOUSE_RELEASES, and repeat the command; --no-charts leaves the charts out"}
	}
	return &charts{chartFlags: f, file: file, contents: c, texts: texts}, nil
}

// releaseNames are the releases that a bundle's charts make, in order.
func releaseNames(c *bundle.Contents) []string {
	names := []string{cluster.Foundation}
	for _, one := range inOrder(c.Charts) {
		names = append(names, one.Name)
	}
	return names
}

// announce says what will be installed.
func (h *charts) announce() string {
	names := releaseNames(h.contents)
	return fmt.Sprintf("When the stacks are complete and the images there, %s are installed or upgraded: %s. Each may take %s to become ready.", view.Count(len(names), "release"), strings.Join(names, ", "), view.Span(h.timeout))
}

// install is what [deploy.CreateOptions] asks for: what cluster apply does, under the
// lease of the run.
func (a *app) install(h *charts) func(context.Context, deploy.Target) ([]cluster.Applied, error) {
	return func(ctx context.Context, t deploy.Target) (applied []cluster.Applied, err error) {
		tell := func(release, text string) {
			t.Emit(deploy.Step{Time: t.AWS.Clock.Now(), Text: strings.TrimSpace("release " + release + ": " + text)})
		}
		h.begun = true
		list, err := a.platform(ctx, t, h.contents, h.texts)
		if err != nil {
			return nil, err
		}
		err = a.releasesTold(ctx, t, h.file, tell, func(r cluster.Releases) error {
			r.Run, r.Timeout, r.KeepFailed = t.Holder.Run, h.timeout, h.keep
			if _, err := prepared(ctx, t, h.file, h.contents, list, r); err != nil {
				return err
			}
			applied, err = r.Apply(ctx, list)
			return err
		})
		return applied, err
	}
}

// leftOut says how to install charts that a run came to nothing with, though its stacks
// are complete; "" if it has tried, or isn't that far.
func (h *charts) leftOut(res *deploy.Result, err error, bundle string) string {
	if h.begun || res == nil || !usable(res, err) {
		return ""
	}
	return fmt.Sprintf("The bundle's charts were left out. When the Kubernetes API is reached and the images are pushed: poolhouse cluster apply -f %s %s", quoted(h.file), quoted(bundle))
}
