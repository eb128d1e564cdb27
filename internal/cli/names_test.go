package cli_test

import (
	"context"
	"net"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/poolhouse/poolhouse/sandbox"
)

// A sandbox answers DNS queries for the names of its account, at the address
// that it prints.
func TestSandboxAnswersNames(t *testing.T) {
	t.Parallel()
	k := startKept(t)
	c := route53.New(route53.Options{
		Region: k.said.Region, BaseEndpoint: aws.String(k.said.Endpoint),
		Credentials: credentials.NewStaticCredentialsProvider(sandbox.AccessKeyID, sandbox.SecretAccessKey, ""),
	})
	zone, err := c.CreateHostedZone(t.Context(), &route53.CreateHostedZoneInput{Name: aws.String("example.com"), CallerReference: aws.String("x")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.ChangeResourceRecordSets(t.Context(), &route53.ChangeResourceRecordSetsInput{HostedZoneId: zone.HostedZone.Id, ChangeBatch: &types.ChangeBatch{Changes: []types.Change{
		{Action: types.ChangeActionCreate, ResourceRecordSet: &types.ResourceRecordSet{Name: aws.String("a.example.com"), Type: types.RRTypeA, TTL: aws.Int64(60), ResourceRecords: []types.ResourceRecord{{Value: aws.String("192.0.2.1")}}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, k.said.DNS)
	}}
	if got, err := r.LookupHost(t.Context(), "a.example.com."); err != nil || len(got) != 1 || got[0] != "192.0.2.1" {
		t.Errorf("got %v, %v", got, err)
	}
}
