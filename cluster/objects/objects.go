// Package objects speaks to a Kubernetes API, in its own REST and JSON, about the
// objects that own things in AWS: load balancers, volumes, and what makes or uses
// them; and about nodes and the budgets that keep pods on them. It lists and deletes
// them, has what they own outlive them where the data is to stay, and lists Helm's
// releases by their labels alone.
//
// Invariants: before each attempt of a write the gate is asked. A write names the
// object by its uid besides its name, so that one which arrives late, or is sent
// again, never hits another object of that name. What passes by itself (an answer
// that doesn't come, a server in trouble) is tried again for about a minute.
// Values of secrets are never asked for, and of objects whose kind it doesn't know it
// reads the metadata alone.
//
// Limits: neither watches nor creations. Kinds that the cluster doesn't have count
// as none.
package objects

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// Client speaks to one API. It is safe for concurrent use.
type Client struct {
	// Endpoint is the API's URL, and Transport leads there as the caller.
	Endpoint  string
	Transport http.RoundTripper
	// Clock sleeps between attempts.
	Clock clock.Clock
	// Gate is asked before each attempt of a write, and its error ends the call. May
	// be nil.
	Gate func(context.Context) error
}

const (
	// answerTime bounds one attempt.
	answerTime = 30 * time.Second
	// attempts and firstPause, which doubles, are how what passes is tried again.
	attempts   = 6
	firstPause = 2 * time.Second
	// page is how many objects are asked for at a time, and mostAnswer how many bytes
	// an answer may have.
	page       = 500
	mostAnswer = 64 << 20
)

// StatusError is an answer of the API that refuses.
type StatusError struct {
	// Asked is what was: "GET /api/v1/services".
	Asked   string
	Code    int
	Message string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", e.Asked, e.Code, http.StatusText(e.Code), e.Message)
}

// code is the status of an answer that refuses, or 0.
func code(err error) int {
	var s *StatusError
	if errors.As(err, &s) {
		return s.Code
	}
	return 0
}

// NoAnswerError is that an attempt got no answer. It wraps nothing: how a connection
// fails says nothing of AWS, of which the caller's other errors are.
type NoAnswerError struct{ Asked, Reason string }

func (e *NoAnswerError) Error() string { return e.Asked + ": no answer: " + e.Reason }

// passes tells that to ask again may help.
func passes(err error) bool {
	var none *NoAnswerError
	c := code(err)
	return errors.As(err, &none) || c == http.StatusTooManyRequests || c >= http.StatusInternalServerError
}

// call is a request of the API.
type call struct {
	method, path string
	query        url.Values
	accept, kind string // media types
	body         any
}

// metadataOnly has lists answered without what objects hold, and metadataOf so an
// object, where its server knows how.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
const (
	metadataOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	metadataOf   = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
)

// do makes a call, again if need be, and reads its answer into out unless that is nil.
func (c *Client) do(ctx context.Context, what call, out any) error {
	pause := firstPause
	for n := 1; ; n++ {
		err := c.once(ctx, what, out)
		if err == nil || !passes(err) || n == attempts {
			return err
		}
		if err := c.Clock.Sleep(ctx, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

func (c *Client) once(ctx context.Context, what call, out any) error {
	asked := what.method + " " + what.path
	if what.method != http.MethodGet && c.Gate != nil {
		if err := c.Gate(ctx); err != nil {
			return err
		}
	}
	var body io.Reader = http.NoBody
	if what.body != nil {
		text, err := json.Marshal(what.body)
		if err != nil {
			return fmt.Errorf("%s: %w", asked, err)
		}
		body = bytes.NewReader(text)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("none within %v", answerTime))
	defer cancel()
	req, err := http.NewRequestWithContext(bounded, what.method, strings.TrimSuffix(c.Endpoint, "/")+what.path, body)
	if err != nil {
		return fmt.Errorf("%s: %w", asked, err)
	}
	req.URL.RawQuery = what.query.Encode()
	req.Header.Set("User-Agent", "poolhouse")
	req.Header.Set("Accept", "application/json")
	if what.accept != "" {
		req.Header.Set("Accept", what.accept)
	}
	if what.kind != "" {
		req.Header.Set("Content-Type", what.kind)
	}
	// Without a client no redirect is followed: a token is for the API alone.
	resp, err := c.Transport.RoundTrip(req)
	lost := func(err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case bounded.Err() != nil:
			err = context.Cause(bounded)
		}
		return &NoAnswerError{asked, err.Error()}
	}
	if err != nil {
		return lost(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer+1))
	switch {
	case err != nil:
		return lost(err)
	case len(text) > mostAnswer:
		return fmt.Errorf("%s: the answer has more than %d bytes", asked, mostAnswer)
	case resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices:
		return &StatusError{asked, resp.StatusCode, message(text)}
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s: read the answer: %w", asked, err)
	}
	return nil
}

// message is what the API says, of its Status or of whatever else it sent.
func message(text []byte) string {
	var status struct{ Message string }
	if json.Unmarshal(text, &status) == nil && status.Message != "" {
		return strconv.Quote(status.Message)
	}
	const most = 200
	return strconv.Quote(string(bytes.TrimSpace(text[:min(len(text), most)])))
}

// metadata is what every object has.
type metadata struct {
	Name              string
	Namespace         string
	UID               string
	DeletionTimestamp string
	Labels            map[string]string
	Finalizers        []string
	OwnerReferences   []reference
}

// item is what is read of an object of a kind that is known.
type item struct {
	Metadata metadata
	Spec     struct {
		Type                          string // of a Service
		VolumeName                    string // of a claim, and the following of a volume
		PersistentVolumeReclaimPolicy string
		Capacity                      struct{ Storage string }
		ClaimRef                      *struct{ Namespace, Name string }
		CSI                           *struct{ Driver, VolumeHandle string }
		DeletionPolicy                string // of a snapshot's content
		Volumes                       []struct {
			Name                  string
			PersistentVolumeClaim *struct{ ClaimName string }
			Ephemeral             *struct{}
		}
	}
	Status struct {
		Conditions         []condition
		DisruptionsAllowed int // of a budget, as is the following
		ExpectedPods       int
	}
}

type condition struct{ Type, Status string }

type reference struct {
	APIVersion string
	Kind       string
	Name       string
	UID        string
	Controller bool
}

// named is what names of objects and namespaces are made of, so that a path can be.
// Those of RBAC, which may have colons, are not spoken about here.
var named = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)

// check refuses what would lead a request elsewhere.
func (i *item) check() error {
	for _, name := range []string{i.Metadata.Name, i.Metadata.Namespace} {
		if name != "" && !named.MatchString(name) {
			return fmt.Errorf("the API names an object %q, which is no name", name)
		}
	}
	return nil
}

// list are all objects of a resource, in all namespaces; none if the cluster doesn't
// have the resource.
func (c *Client) list(ctx context.Context, path string, what call) ([]item, error) {
	var all []item
	what.method, what.path = http.MethodGet, path
	if what.query == nil {
		what.query = url.Values{}
	}
	what.query.Set("limit", strconv.Itoa(page))
	for again := false; ; {
		var got struct {
			Metadata struct{ Continue string }
			Items    []item
		}
		err := c.do(ctx, what, &got)
		switch {
		case code(err) == http.StatusNotFound:
			return nil, nil
		case code(err) == http.StatusGone && !again:
			// The list took longer than what it is of is kept; it begins anew, whole.
			// https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
			what.query.Del("limit")
			what.query.Del("continue")
			again, all = true, nil
			continue
		case err != nil:
			return nil, err
		}
		for _, i := range got.Items {
			if err := i.check(); err != nil {
				return nil, err
			}
		}
		all = append(all, got.Items...)
		if got.Metadata.Continue == "" {
			return all, nil
		}
		what.query.Set("continue", got.Metadata.Continue)
	}
}
