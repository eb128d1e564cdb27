package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

// mirror is what images mirror was asked for.
type mirror struct {
	file, to string
	moveTags bool
	names    []image.Reference
}

// read reads the names of images, and says all that is wrong with the command line.
func (m *mirror) read(args []string) (faults []error) {
	switch {
	case m.file == "" && m.to == "":
		faults = append(faults, errors.New("name the deployment's file by -f, or another registry by --to"))
	case m.file != "" && m.to != "":
		faults = append(faults, errors.New("-f and --to are two goals: leave one of them out"))
	case m.file != "" && m.moveTags:
		faults = append(faults, errors.New("--move-tags is for --to: the repositories of a deployment do not let tags be moved"))
	}
	names, unread := references(args)
	m.names, faults = names, append(faults, unread...)
	if _, _, ok := m.goal(); m.to != "" && !ok {
		faults = append(faults, fmt.Errorf("--to %q is no registry: write for example registry.example.com or registry.example.com/mirror", m.to))
	}
	return faults
}

// references are names of images, and what is wrong with them.
func references(texts []string) (names []image.Reference, faults []error) {
	for _, text := range texts {
		ref, ok := image.Parse(text)
		if !ok {
			faults = append(faults, fmt.Errorf("%q is no name of an image: write for example registry.example.com/core@sha256:... or docker.io/library/postgres:16", text))
		}
		names = append(names, ref)
	}
	return names, faults
}

// goal is the registry and the path that --to names.
func (m *mirror) goal() (host, path string, ok bool) {
	ref, ok := image.Parse(m.to + "/image")
	host, _ = images.Remote(ref)
	path, _ = strings.CutSuffix(ref.Repository, "image")
	return host, strings.TrimSuffix(path, "/"), ok && ref.Registry != ""
}

// plan works out what a mirror does.
func (m *mirror) plan(ctx context.Context, a *app) (*images.Plan, error) {
	var (
		g   *images.Registry
		web *http.Client
	)
	if m.file != "" {
		t, _, err := a.target(ctx, m.file)
		if err != nil {
			return nil, err
		}
		if g, err = images.Open(ctx, t.Architecture, t.AWS); err != nil {
			return nil, err
		}
		web = t.AWS.Web(layerTime)
	} else {
		var err error
		if web, err = awsapi.Web(layerTime); err != nil {
			return nil, err
		}
		host, path, _ := m.goal()
		g = images.Below(registry.New(host, web, a.Clock, registry.Docker(host)), path, m.names, m.moveTags)
	}
	return images.Mirror(ctx, g, m.names, func(host string) *registry.Client {
		if g.Client != nil && host == g.Client.Host() {
			return g.Client
		}
		return registry.New(host, web, a.Clock, registry.Docker(host))
	})
}

// layerTime is how long a registry may take to begin an answer.
const layerTime = 10 * time.Minute

func (a *app) imagesMirrorCommand() *cobra.Command {
	var (
		m     mirror
		limit string
		dry   bool
	)
	c := &cobra.Command{
		Use:   "mirror {-f FILE | --to REGISTRY[/PATH]} IMAGE...",
		Short: "Copy images from other registries, to the deployment's or to another one",
		Long: "mirror copies images from registries, with all their platforms and by digest. With -f\n" +
			"they go to the deployment's repositories, as push does it: each to the one of\n" +
			"registry.repositories that its name ends with. With --to they go to another registry,\n" +
			"under their own names below PATH. Layers run from one registry to the other and touch\n" +
			"no disk; those that are there are not sent, and what is shared with another repository\n" +
			"of the registry is mounted where that can be. After an error, an interrupt or a kill\n" +
			"the same command goes on.\n\n" +
			"A name without a registry is Docker Hub's. Credentials are docker's: those of docker\n" +
			"login, or of the credential helpers that its config.json names.",
		Example: "  poolhouse images mirror -f deployment.yaml registry.example.com/acme/core-api:v1.2.0\n" +
			"  poolhouse images mirror --to registry.example.com/mirror docker.io/library/postgres:16 quay.io/jetstack/cert-manager-controller:v1.18.2",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("images mirror takes names of images, for example: poolhouse images mirror --to registry.example.com/mirror docker.io/library/postgres:16")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			faults := m.read(args)
			o := images.PushOptions{Clock: a.Clock}
			var err error
			if o.Limit, err = a.limited(limit); err != nil {
				faults = append(faults, err)
			}
			if err := usage(faults); err != nil {
				return err
			}
			plan, err := m.plan(ctx, a)
			if err != nil {
				return login(faultsOf("what shall be mirrored", err))
			}
			if dry {
				return a.print(plan, func() { view.ImagesPlan(a.Out, plan) })
			}
			if err := a.imagesMoved(ctx, repeated(cmd, args), func(v *view.Transfer) error {
				o.Meter = v.Meter()
				return plan.Push(ctx, o)
			}); err != nil {
				return login(err)
			}
			return a.print(plan, func() { view.ImagesPushed(a.Out, plan) })
		},
	}
	fileFlag(c, &m.file)
	c.Flag("file").Usage = "the deployment's file, whose repositories the images go to"
	c.Flags().StringVar(&m.to, "to", "", "registry that the images go to, with a path below which their repositories lie")
	c.Flags().BoolVar(&m.moveTags, "move-tags", false, "with --to: move tags that other images have there")
	c.Flags().StringVar(&limit, "limit", "", "how fast to send at most, for example 50MB/s or 200Mbit/s")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be sent, and send nothing")
	return c
}

// login says of a refusal how to be let in.
func login(err error) error {
	if registry.IsDenied(err) {
		return hinted{err, "log in to the registry, for example by docker login REGISTRY, or have whoever runs it let you in; then repeat the command"}
	}
	return err
}
