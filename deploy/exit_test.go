package deploy

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// mute is an account with an instance, in which the caller may not ask Systems
// Manager.
type mute struct{}

func (mute) Do(req *http.Request) (*http.Response, error) {
	answer := func(status int, typ, body string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {typ}}, Request: req, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
	if strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".DescribeInstanceInformation") {
		return answer(http.StatusBadRequest, "application/x-amz-json-1.1", `{"__type":"AccessDeniedException","message":"no"}`)
	}
	return answer(http.StatusOK, "text/xml", `<R><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><subnetId>subnet-1</subnetId></item></instancesSet></item></reservationSet></R>`)
}

// TestL28WhoMayNotAskReleasesNothing: a run that gives up an old way out needs the
// proof of the new one; any other run goes without.
func TestL28WhoMayNotAskReleasesNothing(t *testing.T) {
	t.Parallel()
	c, err := config.LoadFile("../examples/evaluation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	clients, err := awsapi.New(t.Context(), awsapi.Options{
		Region: c.Region, Endpoint: "http://aws.invalid", HTTPClient: mute{},
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")),
	})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	run := &applying{run: newRun(Target{Architecture: a, AWS: clients, Emit: func(e Event) {
		if s, ok := e.(Step); ok {
			told = append(told, s.Text)
		}
	}}, nil)}
	outputs := map[string]string{"VpcId": "vpc-1", "PrivateSubnet1Id": "subnet-1"}
	if err := run.awaitExits(t.Context(), outputs, false, "go on"); err != nil || len(told) != 1 || !strings.Contains(told[0], "are not asked about") {
		t.Errorf("an ordinary run: %v, told %q", err, told)
	}
	var shut *ExitError
	err = run.awaitExits(t.Context(), outputs, true, "the old way out stands")
	if !errors.As(err, &shut) || !awsapi.IsDenied(err) || !strings.Contains(err.Error(), "takes the permission ssm:DescribeInstanceInformation") || !strings.HasSuffix(err.Error(), "the old way out stands") {
		t.Errorf("before a release: %v", err)
	}
}

// TestL28BothWaysFitInOneTemplate: whatever mode becomes whatever other one, in as many
// zones as there may be, a template holds the new way out beside the old one. If it
// didn't, the old one would go before the new one is proved.
func TestL28BothWaysFitInOneTemplate(t *testing.T) {
	t.Parallel()
	network := func(mode config.NATMode) []byte {
		c, err := config.LoadFile("../examples/self-managed-nat.yaml")
		if err != nil {
			t.Fatal(err)
		}
		c.Network.NAT.Mode = mode
		c.Deviations = map[string]string{architecture.SingleNAT: "one is enough"}
		a, err := architecture.New(c)
		if err != nil {
			t.Fatal(err)
		}
		all, _, err := built(Target{Architecture: a})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(s templates.Stack) bool { return s.Name == architecture.Network })
		return all[i].Body
	}
	modes := []config.NATMode{config.NATGatewayPerZone, config.NATSingleGateway, config.NATInstancePerZone, config.NATSingleInstance}
	most, released := 0, 0
	for _, from := range modes {
		for _, to := range modes {
			if from == to {
				continue
			}
			parts, releases, err := natParts(network(from), stack.Spec{Template: network(to), Parameters: map[string]string{}}, &stack.State{})
			if err != nil {
				t.Fatal(err)
			}
			last := ""
			for _, p := range parts {
				last, most = p.kind, max(most, len(p.spec.Template))
			}
			if releases {
				released++
			}
			if releases && last != "routes" {
				t.Errorf("%s to %s: the old way out goes with the turn of the routes, in %d parts", from, to, len(parts))
			}
		}
	}
	if released < 10 {
		t.Errorf("%d changes give up ways out", released)
	}
	t.Logf("the largest template has %d bytes, of %d that are sent at most", most, inlineTemplate)
}
