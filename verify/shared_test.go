package verify_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/verify"
)

// participant shows a VPC as those see it whom it is shared with: without the
// endpoints, which are its owner's.
// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-share-limitations.html
type participant struct{ http.Handler }

func (p participant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, perr := url.ParseQuery(string(body))
	if err == nil && perr == nil && form.Get("Action") == "DescribeVpcEndpoints" {
		fmt.Fprint(w, `<DescribeVpcEndpointsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><vpcEndpointSet/></DescribeVpcEndpointsResponse>`)
		return
	}
	p.Handler.ServeHTTP(w, r)
}

// shared looks at the world as a participant of its VPC.
func (w *world) shared(t *testing.T, o verify.Options) *verify.Report {
	t.Helper()
	p := w.box.Principals()[0]
	c, err := awsapi.New(t.Context(), awsapi.Options{
		Region: w.box.Region(), Endpoint: testkit.Endpoint, HTTPClient: &http.Client{Transport: testkit.Transport{Handler: participant{w.box}}},
		Clock: stopped{at: w.now}, Credentials: credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Architecture, o.AWS = w.arch, c
	rep, err := verify.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestSharedS3 takes the route to S3's gateway endpoint for the endpoint, which
// can't be seen, where there is no other way out; a network with neither fails.
func TestSharedS3(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		drop bool
		want []string
	}{
		"route":    {false, []string{}},
		"no route": {true, []string{"endpoint-s3-gateway"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := standing(t, "existing-network")
			err := w.box.Account().Do(func(tx *account.Tx) error {
				for _, r := range tx.List(typeRoute) {
					if r.Props["TransitGatewayId"] != nil {
						tx.Drop(r.Type, r.ID)
					}
				}
				for _, r := range tx.List(typeEndpoint) {
					if tt.drop && r.Props["VpcEndpointType"] == "Gateway" {
						tx.Drop(r.Type, r.ID)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			rep := w.shared(t, verify.Options{Only: []string{"endpoint-s3-gateway"}})
			if diff := cmp.Diff(tt.want, ids(rep.Failed(""))); diff != "" {
				t.Errorf("failed checks (-want +got):\n%s", diff)
				say(t, rep)
			}
			if unseen := rep.Unseen(""); len(unseen) > 0 {
				t.Errorf("could not look: %v", ids(unseen))
			}
		})
	}
}
