package deploy_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// TestL28ModesChangeInPlace changes the mode without an announcement of its own:
// the update allocates and tells the addresses before anything else changes,
// routes never lack a target that stands, and the old addresses go last.
func TestL28ModesChangeInPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := leavingBy(t, example(t, "evaluation"), config.NATSingleGateway)
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		for _, mode := range []config.NATMode{config.NATInstancePerZone, config.NATGatewayPerZone, config.NATSingleInstance, config.NATSingleGateway} {
			next := leavingBy(t, a, mode)
			old := w.addresses()
			before := w.exits()
			var order []string
			w.seen = func(e deploy.Event) {
				switch e := e.(type) {
				case deploy.Step:
					for _, word := range []string{"allocating", "leave by other addresses", "turning the routes"} {
						if strings.Contains(e.Text, word) {
							order = append(order, word)
						}
					}
				case deploy.StackStarted:
					if !slices.Contains(order, "stacks") {
						order = append(order, "stacks")
					}
				case deploy.ResourceEvent:
					if e.Type == "AWS::EC2::EIP" && e.Status == "DELETE_COMPLETE" {
						order = append(order, "released")
					}
				}
			}
			for table, exit := range before {
				if exit == "" {
					t.Fatalf("%s leads nowhere", table)
				}
			}
			target := w.target(next)
			target.Terse = false
			if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: target}); err != nil {
				t.Fatalf("to %s: %v", mode, err)
			}
			w.seen = nil
			if n := slices.Index(order, "released"); n >= 0 {
				order = append(order[:n], "released")
			}
			if want := []string{"allocating", "leave by other addresses", "stacks", "turning the routes", "released"}; !slices.Equal(order, want) {
				t.Errorf("to %s: %v, want %v", mode, order, want)
			}
			for table, exit := range w.exits() {
				kind, ip, _ := strings.Cut(exit, " ")
				if !strings.HasSuffix(string(mode), kind) && !strings.HasPrefix(string(mode), kind) || slices.Contains(old, ip) || ip == "" {
					t.Errorf("with %s, %s leaves by %q", mode, table, exit)
				}
			}
			w.emptyPlan(next)
		}
	})
}

// TestL28KilledChangeOfMode kills the change of NAT mode before its first writing
// call, and once each of them was carried out, whose answer is lost. At every time each private route leads
// to a way out that stands, and the next run arrives.
func TestL28KilledChangeOfMode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := leavingBy(t, example(t, "evaluation"), config.NATSingleGateway)
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		there := a
		points := 0
		for call, done := 0, false; !done; call++ {
			mode := config.NATSingleInstance
			if there.Config.Network.NAT.Mode == mode {
				mode = config.NATSingleGateway
			}
			next := leavingBy(t, a, mode)
			target := w.target(next)
			ctx, kill := context.WithCancelCause(t.Context())
			target.AWS = w.clients(&killer{http: testkit.Client(w.box), at: max(call, 1), after: call > 0, kill: func() { kill(errKilled) }})
			_, err := deploy.Update(ctx, deploy.CreateOptions{Target: target})
			kill(nil)
			if err == nil {
				done = true
			} else {
				points++
			}
			for table, exit := range w.exits() {
				if exit == "" {
					t.Fatalf("killed at call %d, %s leads nowhere", call, table)
				}
			}
			w.update(next)
			there = next
			if got := len(w.addresses()); got != 1 {
				t.Fatalf("killed at call %d, %d addresses are left, want 1", call, got)
			}
		}
		t.Logf("%d points", points)
		if points < 10 {
			t.Errorf("%d points at which the run was killed, want 10 at least", points)
		}
		w.emptyPlan(there)
		w.clean(w.destroy(there))
	})
}

// killer kills a run at one of its writing calls, before it leaves or once it
// was carried out; no later call leaves.
type killer struct {
	http  *http.Client
	at    int
	after bool
	kill  func()

	mu   sync.Mutex
	seen int
}

// reading begins the names of calls of the Query protocol that change nothing.
var reading = regexp.MustCompile(`(^|&)Action=(Describe|Get|List|Detect)`)

func (k *killer) Do(req *http.Request) (*http.Response, error) {
	if req.Body == nil || req.Header.Get("X-Amz-Target") != "" {
		return k.http.Do(req)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	if !bytes.Contains(body, []byte("Action=")) || reading.Match(body) {
		return k.http.Do(req)
	}
	k.mu.Lock()
	k.seen++
	now := k.seen == k.at
	k.mu.Unlock()
	if !now {
		return k.http.Do(req)
	}
	if k.after {
		resp, err := k.http.Do(req)
		if err != nil {
			return nil, err
		}
		if err := resp.Body.Close(); err != nil {
			return nil, err
		}
	}
	k.kill()
	return nil, errKilled
}

// clients are those of the world's principal by another HTTP client.
func (w *world) clients(c aws.HTTPClient) *awsapi.Clients {
	w.t.Helper()
	p := w.box.Principals()[0]
	clients, err := awsapi.New(w.t.Context(), awsapi.Options{
		Region: w.box.Region(), Endpoint: testkit.Endpoint, HTTPClient: c,
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return clients
}
