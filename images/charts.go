package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/transfer"
)

// Chart is a packed chart that a registry or a web server has.
type Chart struct {
	// Name is the reference as it was written.
	Name string
	// Reference is the registry's name of it, whose digest, if it has one, is that of
	// its manifest. It is empty if a web server has it at URL, a file with a digest.
	Reference image.Reference
	URL       string
	Digest    string
}

// The forms of references to charts.
const (
	ociScheme   = "oci://"
	webScheme   = "https://"
	plainScheme = "http://"
)

// IsChart tells whether a text is meant as a reference to a chart elsewhere, and not as
// a path.
func IsChart(text string) bool {
	return slices.ContainsFunc([]string{ociScheme, webScheme, plainScheme}, func(s string) bool { return strings.HasPrefix(text, s) })
}

// chartFile is how packed charts are named.
var chartFile = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,200}\.tgz$`)

// ParseChart reads a reference: oci://HOST/REPOSITORY:VERSION, with the manifest's
// @sha256:... if it is to be that one, or https://HOST/NAME-VERSION.tgz#sha256=..., the
// digest of the file, without which nothing would tell one chart from another.
func ParseChart(text string) (c Chart, err error) {
	c.Name = text
	if name, is := strings.CutPrefix(text, ociScheme); is {
		ref, ok := image.Parse(name)
		if !ok || ref.Registry == "" || ref.Tag == "" && ref.Digest == "" {
			return c, fmt.Errorf("%q is no chart of a registry: write for example oci://registry.example.com/charts/acme:1.2.0", text)
		}
		c.Reference = ref
		return c, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return c, errors.New("a chart's address can't be read: write https://HOST/CHART-VERSION.tgz#sha256=DIGEST")
	}
	// What may be secret in it is shown to nobody.
	shown := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	if u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || !chartFile.MatchString(path.Base(u.Path)) {
		return c, fmt.Errorf("%s is no chart of a web server: write for example https://charts.example.com/acme-1.2.0.tgz#sha256=..., without user, password or query", fault.Quoted(shown))
	}
	digest, ok := strings.CutPrefix(u.Fragment, "sha256=")
	if c.Digest = "sha256:" + digest; !ok || !image.Valid(c.Digest) {
		return c, fmt.Errorf("%s has no digest: append #sha256= and the SHA-256 of the file, from who publishes it, in small letters", fault.Quoted(shown))
	}
	u.Fragment = ""
	c.URL = u.String()
	return c, nil
}

// file is what the chart is called on disk.
func (c Chart) file() string {
	if c.URL != "" {
		u, _ := url.Parse(c.URL) // ParseChart has
		return path.Base(u.Path)
	}
	name := path.Base(c.Reference.Repository)
	if c.Reference.Tag != "" {
		name += "-" + c.Reference.Tag
	}
	return name + ".tgz"
}

// ChartOptions say how charts are pulled.
type ChartOptions struct {
	// From is the way to a registry by its host, and Web to web servers.
	From  func(host string) *registry.Client
	Web   *http.Client
	Clock clock.Clock
	// Meter counts the bytes, and Limit bounds how fast they are fetched; both may be
	// nil.
	Meter *transfer.Meter
	Limit *transfer.Limit
}

// PullCharts brings charts into a folder that holds nothing else, and returns their
// paths. Each is compared with its digest and its size before it gets its name. It can be
// repeated after any error, an interrupt or a kill: those that are whole are not fetched
// again. What is wrong is an error of kind [fault.Faults].
func PullCharts(ctx context.Context, dir string, charts []Chart, o ChartOptions) (paths []string, err error) {
	var faults fault.List
	named := map[string]string{}
	for _, c := range charts {
		if other, is := named[c.file()]; is {
			faults.Add(c.Name, "leave one of the two out", "has the name of %s", other)
		}
		named[c.file()] = c.Name
	}
	if faults.Len() > 0 {
		return nil, faults.Faults()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for charts: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("make a folder for charts: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := tidy(root, nil, chartFile, func(name string) bool { return named[name] != "" }); err != nil {
		return nil, err
	}
	for _, c := range charts {
		err := o.pull(ctx, root, c)
		var wrong *wrongError
		switch {
		case errors.As(err, &wrong):
			faults.Add(c.Name, wrong.fix, "%s", wrong.reason)
		case err != nil:
			return nil, fmt.Errorf("pull the chart %s: %w", c.Name, err)
		}
		paths = append(paths, filepath.Join(dir, c.file()))
	}
	if faults.Len() > 0 {
		return nil, faults.Faults()
	}
	return paths, nil
}

// pull brings one chart to disk, unless it is there.
func (o ChartOptions) pull(ctx context.Context, root *os.Root, c Chart) (err error) {
	g := goal{name: c.file(), digest: c.Digest, size: -1, most: bundle.MostChart}
	open := func() (io.ReadCloser, error) { return o.get(ctx, c) }
	if c.URL == "" {
		client := o.From(c.Reference.Host())
		content, err := chartLayer(ctx, client, c.Reference)
		if err != nil {
			return err
		}
		g.digest, g.size = content.Digest, content.Size
		open = func() (io.ReadCloser, error) { return client.Fetch(ctx, c.Reference.Repository, content.Digest) }
	}
	there, err := g.there(ctx, root)
	if err != nil || there {
		return err
	}
	item := o.Meter.Start("pulling "+c.Name, g.size)
	defer func() { item.End(err) }()
	in, err := open()
	if err != nil {
		return err
	}
	return errors.Join(g.save(root, transfer.Reader(ctx, in, item, o.Limit)), in.Close())
}

// chartContent is the media type of the layer that a packed chart is.
// https://helm.sh/docs/topics/registries/#helm-chart-manifest
const chartContent = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// descriptor is a layer of a manifest.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// chartLayer is the layer of a chart's manifest that is the packed chart. A name with
// tag and digest means the digest.
func chartLayer(ctx context.Context, client *registry.Client, ref image.Reference) (d descriptor, err error) {
	at := ref.Digest
	if at == "" {
		at = ref.Tag
	}
	m, err := client.Manifest(ctx, ref.Repository, at)
	if registry.IsNotFound(err) {
		return d, &wrongError{"is not in the registry", "look at its name and version; helm show chart shows one that is there"}
	}
	if err != nil {
		return d, err
	}
	var manifest struct{ Layers []descriptor }
	if err := json.Unmarshal(m.Text, &manifest); err != nil {
		return d, &wrongError{"has a manifest that can't be read", "ask who publishes it"}
	}
	found := slices.DeleteFunc(manifest.Layers, func(l descriptor) bool { return l.MediaType != chartContent })
	switch {
	case len(found) != 1:
		return d, &wrongError{fmt.Sprintf("is no chart: its manifest has %d layers of the type %s", len(found), chartContent), "name a chart; images are pulled by --pull"}
	case !image.Valid(found[0].Digest):
		return d, &wrongError{"has a manifest whose chart has no digest of SHA-256", "ask who publishes it"}
	case found[0].Size <= 0 || found[0].Size > bundle.MostChart:
		return d, &wrongError{fmt.Sprintf("has %d bytes by its manifest; a chart has 1 to %d", found[0].Size, bundle.MostChart), "ask who publishes it"}
	}
	return found[0], nil
}

var (
	errAround = errors.New("it leads from one address to the next")
	errPlain  = errors.New("it leads to an address without TLS")
)

// webTime is how long a web server may take to begin its answer.
const webTime = time.Minute

// get begins to read a file of a web server. What breaks is gone on with where it broke,
// after pauses.
func (o ChartOptions) get(ctx context.Context, c Chart) (io.ReadCloser, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, err
	}
	return transfer.Resume(func(at int64) (*http.Response, error) { return o.ask(ctx, c, at) }, func(failures int, err error) error {
		return o.again(ctx, failures, fmt.Errorf("fetch it from %s: %w", u.Host, err))
	})
}

// again waits before another attempt. It returns the error if there is to be none.
func (o ChartOptions) again(ctx context.Context, failures int, err error) error {
	if failures == registry.Attempts || ctx.Err() != nil {
		return err
	}
	if slept := registry.Pause(ctx, o.Clock, failures, err); slept != nil {
		return errors.Join(slept, err)
	}
	return nil
}

// ask asks a web server for a file from a byte on, again after pauses where that may
// help. It leads nowhere but by TLS.
func (o ChartOptions) ask(ctx context.Context, c Chart, at int64) (*http.Response, error) {
	web := *o.Web
	web.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		const most = 5
		switch {
		case len(via) >= most:
			return errAround
		case r.URL.Scheme != "https":
			return errPlain
		}
		return nil
	}
	for n := 1; ; n++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, http.NoBody)
		if err != nil {
			return nil, err
		}
		// As it is stored, which is what has the digest.
		req.Header.Set("Accept-Encoding", "identity")
		if at > 0 {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", at))
		}
		resp, err := transfer.Do(req, webTime, web.Do)
		switch {
		case err == nil && (resp.StatusCode == http.StatusOK || at > 0 && resp.StatusCode == http.StatusPartialContent):
			return resp, nil
		case err == nil:
			err = fmt.Errorf("%s answers %s", req.URL.Host, resp.Status)
			if closed := resp.Body.Close(); resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < http.StatusInternalServerError {
				return nil, errors.Join(err, closed)
			}
		case errors.Is(err, transfer.ErrStalled):
			err = fmt.Errorf("ask %s: %w", req.URL.Host, err)
		}
		// Where it was led to stands in the error, with what a signed address has in its
		// query.
		if u, is := errors.AsType[*url.Error](err); is {
			host := req.URL.Host
			if at, err := url.Parse(u.URL); err == nil {
				host = at.Host
			}
			err = fmt.Errorf("ask %s: %w", host, u.Err)
		}
		if errors.Is(err, errAround) || errors.Is(err, errPlain) {
			return nil, err
		}
		if err := o.again(ctx, n, err); err != nil {
			return nil, err
		}
	}
}
