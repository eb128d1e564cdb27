package ssm_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// instance puts an instance into the default VPC, whose subnets reach the
// internet, with a role of the given policies.
func instance(t *testing.T, s *sandbox.Sandbox, id, status string, policies ...any) {
	t.Helper()
	role := testkit.MustCreate(t, s, "AWS::IAM::Role", map[string]any{
		"AssumeRolePolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
		"ManagedPolicyArns":        policies,
	})
	profile := testkit.MustCreate(t, s, "AWS::IAM::InstanceProfile", map[string]any{"Roles": []any{role.ID}})
	err := s.Account().Do(func(tx *account.Tx) error {
		subnet := tx.List("AWS::EC2::Subnet")[0]
		vpc, _ := subnet.Props["VpcId"].(string)
		group, _, err := tx.Create("AWS::EC2::SecurityGroup", map[string]any{"GroupDescription": id, "VpcId": vpc}, "", true)
		if err != nil {
			return err
		}
		face, _, err := tx.Create("AWS::EC2::NetworkInterface", map[string]any{"SubnetId": subnet.ID, "GroupSet": []any{group.ID}}, id, true)
		if err != nil {
			return err
		}
		face.Owner = id
		tx.Put(&account.Resource{
			Type: "ec2:instance", ID: id, Status: status,
			Props: map[string]any{"SubnetId": subnet.ID, "Template": map[string]any{"IamInstanceProfile": map[string]any{"Name": profile.ID}}},
			Attrs: map[string]any{"PrivateIp": face.Attrs["PrimaryPrivateIpAddress"]},
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{SessionStream: func(session, usual string) string {
		if !strings.HasPrefix(usual, "wss://ssmmessages.us-east-1.amazonaws.com/v1/data-channel/") {
			t.Errorf("the usual stream is %s", usual)
		}
		return "ws://here/" + session
	}})
	const core = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
	instance(t, s, "i-00000000000000001", "running", core)
	instance(t, s, "i-00000000000000002", "running", "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy")
	instance(t, s, "i-00000000000000003", "pending", core)
	c := sdk.NewFromConfig(testkit.Config(s))
	info, err := c.DescribeInstanceInformation(ctx, &sdk.DescribeInstanceInformationInput{
		Filters: []types.InstanceInformationStringFilter{{Key: aws.String("PingStatus"), Values: []string{"Online"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(info.InstanceInformationList); n != 1 || *info.InstanceInformationList[0].InstanceId != "i-00000000000000001" {
		t.Fatalf("managed instances: %+v", info.InstanceInformationList)
	}
	in := func(change func(*sdk.StartSessionInput)) *sdk.StartSessionInput {
		i := &sdk.StartSessionInput{
			Target: aws.String("i-00000000000000001"), DocumentName: aws.String("AWS-StartPortForwardingSessionToRemoteHost"),
			Parameters: map[string][]string{"host": {"api.example.com"}, "portNumber": {"443"}},
		}
		if change != nil {
			change(i)
		}
		return i
	}
	for name, tc := range map[string]struct {
		change func(*sdk.StartSessionInput)
		want   string
	}{
		"no role":       {func(i *sdk.StartSessionInput) { i.Target = aws.String("i-00000000000000002") }, "TargetNotConnected: i-00000000000000002 is not connected."},
		"not yet there": {func(i *sdk.StartSessionInput) { i.Target = aws.String("i-00000000000000003") }, "TargetNotConnected: "},
		"nobody":        {func(i *sdk.StartSessionInput) { i.Target = aws.String("i-00000000000000009") }, "TargetNotConnected: "},
		"shell":         {func(i *sdk.StartSessionInput) { i.DocumentName = nil }, "NotModelled: "},
		"own document":  {func(i *sdk.StartSessionInput) { i.DocumentName = aws.String("Mine") }, "InvalidDocument: "},
		"no host":       {func(i *sdk.StartSessionInput) { delete(i.Parameters, "host") }, "ValidationException: "},
		"no port":       {func(i *sdk.StartSessionInput) { i.Parameters["portNumber"] = []string{"https"} }, "ValidationException: "},
	} {
		_, err := c.StartSession(ctx, in(tc.change))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %s", name, err, tc.want)
		}
	}
	started, err := c.StartSession(ctx, in(nil))
	if err != nil {
		t.Fatal(err)
	}
	if *started.StreamUrl != "ws://here/"+*started.SessionId || len(*started.TokenValue) != 64 || !strings.HasPrefix(*started.SessionId, "sandbox-") {
		t.Errorf("got %s %s", *started.SessionId, *started.StreamUrl)
	}
	active := func() int {
		t.Helper()
		out, err := c.DescribeSessions(ctx, &sdk.DescribeSessionsInput{State: types.SessionStateActive, Filters: []types.SessionFilter{{Key: types.SessionFilterKeyTargetId, Value: aws.String("i-00000000000000001")}}})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Sessions)
	}
	if n := active(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
	for range 2 {
		if _, err := c.TerminateSession(ctx, &sdk.TerminateSessionInput{SessionId: started.SessionId}); err != nil {
			t.Fatal(err)
		}
	}
	if n := active(); n != 0 {
		t.Errorf("%d sessions after the end", n)
	}
	for id, want := range map[string]types.ConnectionStatus{"i-00000000000000001": types.ConnectionStatusConnected, "i-00000000000000002": types.ConnectionStatusNotConnected} {
		if out, err := c.GetConnectionStatus(ctx, &sdk.GetConnectionStatusInput{Target: &id}); err != nil || out.Status != want {
			t.Errorf("%s: %v, %v", id, out, err)
		}
	}
}
