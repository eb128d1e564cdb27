package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// document is the Systems Manager document that forwards a port to another host
// by way of an instance.
// https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-sessions-start.html
const document = "AWS-StartPortForwardingSessionToRemoteHost"

const pluginName = "session-manager-plugin"

// sessionError says why there is no session, and what would help.
type sessionError struct {
	err    error
	advice string
}

func (e *sessionError) Error() string { return e.err.Error() }
func (e *sessionError) Unwrap() error { return e.err }

// session opens a port on this machine that a Session Manager session forwards
// to the API: through the deployment's session host if it has one, otherwise
// through a core node, which has the agent too and reaches the API anyway.
func (f *finder) session(ctx context.Context) (opened, error) {
	plugin := f.Machine.Plugin
	if plugin == "" {
		// https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html
		var err error
		if plugin, err = exec.LookPath(pluginName); err != nil {
			return opened{}, &sessionError{
				fmt.Errorf("%s is not installed", pluginName),
				"install AWS's Session Manager plugin on this machine",
			}
		}
	}
	target, err := f.target(ctx)
	if err != nil {
		return opened{}, err
	}
	host, port, err := net.SplitHostPort(f.host)
	if err != nil {
		return opened{}, err
	}
	in := &ssm.StartSessionInput{
		Target: &target, DocumentName: aws.String(document), Reason: aws.String("poolhouse: Kubernetes API"),
		Parameters: map[string][]string{"host": {host}, "portNumber": {port}, "localPortNumber": {"0"}},
	}
	out, err := f.SSM.StartSession(ctx, in)
	if err != nil {
		return opened{}, &sessionError{fmt.Errorf("start a session on %s: %w", target, err), "the caller needs ssm:StartSession on the instance and the document " + document}
	}
	// The end is on a context of its own: it has to happen after a deadline too.
	const grace = 10 * time.Second
	terminate := func() error {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if _, err := f.SSM.TerminateSession(end, &ssm.TerminateSessionInput{SessionId: out.SessionId}); err != nil {
			return fmt.Errorf("terminate session %s: %w", aws.ToString(out.SessionId), err)
		}
		return nil
	}
	run, err := startPlugin(ctx, plugin, f.Architecture.Config.Region, target, f.Machine.Getenv, out)
	if err != nil {
		return opened{}, errors.Join(&sessionError{err, "try it by itself: aws ssm start-session --target " + target}, terminate())
	}
	local := net.JoinHostPort("127.0.0.1", run.port)
	return opened{
		via:   target,
		dial:  func(ctx context.Context) (net.Conn, error) { return f.Machine.Dial(ctx, "tcp", local) },
		close: func() error { return errors.Join(run.end(), terminate()) },
	}, nil
}

// target is the instance that sessions go to.
func (f *finder) target(ctx context.Context) (string, error) {
	name, what := f.Architecture.CoreNodeName(), "core node"
	if f.Architecture.KubernetesAccess().SessionHost {
		name, what = f.Architecture.SessionHostName(), "session host"
	}
	var ids []string
	pages := ec2.NewDescribeInstancesPaginator(f.EC2, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
		{Name: aws.String("tag:Name"), Values: []string{name}},
		{Name: aws.String("tag:poolhouse:deployment"), Values: []string{f.Architecture.Name()}},
		{Name: aws.String("instance-state-name"), Values: []string{string(ec2types.InstanceStateNameRunning)}},
	}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", fmt.Errorf("find the %s: %w", what, err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				ids = append(ids, aws.ToString(i.InstanceId))
			}
		}
	}
	if len(ids) == 0 {
		return "", &sessionError{fmt.Errorf("no %s is running", what), "set cluster.api.sessionHost and repeat the command when its instance runs"}
	}
	slices.Sort(ids)
	// A filter takes 100 values.
	const most = 100
	info := ssm.NewDescribeInstanceInformationPaginator(f.SSM, &ssm.DescribeInstanceInformationInput{
		Filters: []ssmtypes.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: ids[:min(len(ids), most)]}},
	})
	// A page may be empty, and others follow.
	for info.HasMorePages() {
		page, err := info.NextPage(ctx)
		if err != nil {
			return "", fmt.Errorf("ask Systems Manager for the %s: %w", what, err)
		}
		for _, i := range page.InstanceInformationList {
			if i.PingStatus == ssmtypes.PingStatusOnline {
				return aws.ToString(i.InstanceId), nil
			}
		}
	}
	return "", &sessionError{
		fmt.Errorf("the %s %s is not connected to Systems Manager", what, strings.Join(ids[:min(len(ids), 3)], ", ")),
		"its agent registers within minutes of the start; it needs a way to ssm and ssmmessages",
	}
}

// plugin is the running program.
type plugin struct {
	port string
	end  func() error
}

// responseVariable hands the session's token to the plugin apart from its
// arguments, which everyone on the machine can read.
// https://github.com/aws/session-manager-plugin
const responseVariable = "AWS_SSM_START_SESSION_RESPONSE"

// startPlugin runs the plugin as the AWS CLI does, and waits until it has opened
// a local port.
func startPlugin(ctx context.Context, path, region, target string, getenv func(string) string, session *ssm.StartSessionOutput) (*plugin, error) {
	response, err := json.Marshal(map[string]string{
		"SessionId": aws.ToString(session.SessionId), "StreamUrl": aws.ToString(session.StreamUrl), "TokenValue": aws.ToString(session.TokenValue),
	})
	if err != nil {
		return nil, err
	}
	request, err := json.Marshal(map[string]string{"Target": target})
	if err != nil {
		return nil, err
	}
	// It outlives the attempt's deadline: whoever holds the route ends it.
	cmd := exec.Command(path, responseVariable, region, "StartSession", getenv("AWS_PROFILE"), string(request), "https://ssm."+region+".amazonaws.com")
	cmd.Env = append(os.Environ(), responseVariable+"="+string(response))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", pluginName, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run %s: %w", pluginName, err)
	}
	ports := make(chan string, 1)
	done := make(chan struct{})
	var said tail
	go func() {
		defer close(done)
		opened := regexp.MustCompile(`^Port (\d+) opened for sessionId`)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if m := opened.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case ports <- m[1]:
				default:
				}
			}
			said.add(lines.Text())
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	end := sync.OnceValue(func() error {
		// It has ended already, or this ends it.
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
		return nil
	})
	select {
	case port := <-ports:
		return &plugin{port, end}, nil
	case <-done:
		_ = end()
		return nil, fmt.Errorf("%s ended: %s", pluginName, said.text())
	case <-ctx.Done():
		_ = end()
		return nil, context.Cause(ctx)
	}
}

// tail keeps the last lines that a program said.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	const most = 3
	if line = strings.TrimSpace(line); line == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	t.lines = t.lines[max(0, len(t.lines)-most):]
}

// Write implements [io.Writer].
func (t *tail) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		t.add(line)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return "it said nothing"
	}
	return strings.Join(t.lines, "; ")
}
