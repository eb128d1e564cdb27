package deploy

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/awsapi"
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
