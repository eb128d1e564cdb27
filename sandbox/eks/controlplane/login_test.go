package controlplane_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/eks/controlplane"
	"github.com/poolhouse/poolhouse/sandbox/iam"
)

const trustEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// TestNodesSignIn: a control plane is told what runs pods, and gets the passwords of
// its nodes for ECR as long as their role may have them; nobody else does.
func TestNodesSignIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program, said := filepath.Join(dir, "plane"), filepath.Join(dir, "said")
	script := "#!/bin/sh\nread -r line\nprintf '%s' \"$line\" >" + said + ".part && mv " + said + ".part " + said + "\necho '{\"addresses\": {\"api\": \"127.77.1.3:1\", \"control\": \"127.77.1.3:1\"}}'\ncat >/dev/null\n"
	ok(t, os.WriteFile(program, []byte(script), 0o700))
	w := newWorld(t, controlplane.Options{
		Program: func(context.Context) (string, error) { return program, nil },
		Pods: func(context.Context) (*controlplane.Pods, error) {
			return &controlplane.Pods{Program: "/pods", Names: "127.0.0.1:2", Databases: "127.0.0.1:3", Authority: "PEM", Region: "us-east-1"}, nil
		},
	})
	w.cluster(obj{})
	group := testkit.MustCreate(t, w.box, eks.TypeNodegroup, obj{
		"ClusterName": "c", "NodegroupName": "n", "NodeRole": w.roles[1], "Subnets": []any{w.subnets[0]}, "InstanceTypes": []any{"m6i.xlarge"}, "Version": "1.34",
		"ScalingConfig": obj{"MinSize": 1, "DesiredSize": 1, "MaxSize": 1},
	})
	w.later(10 * time.Minute)
	var told struct {
		Config struct {
			Webhook struct{ URL, Token, Authority string }
			Pods    controlplane.Pods
		}
	}
	var node, subnet, instance string
	for until := time.Now().Add(time.Minute); ; {
		text, err := os.ReadFile(said)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		ok(t, w.box.Account().Do(func(tx *account.Tx) error {
			list, err := eks.ControlPlanes(tx)
			if err == nil && len(list) == 1 && len(list[0].Nodes) == 1 {
				n := list[0].Nodes[0]
				node, subnet, instance = n.Name, n.Subnet, n.ProviderID[strings.LastIndex(n.ProviderID, "/")+1:]
			}
			return err
		}))
		if node != "" && len(text) > 0 {
			ok(t, json.Unmarshal(text, &told))
			break
		}
		if time.Now().After(until) {
			t.Fatalf("the control plane was told %q, node %q of %+v", text, node, group)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if want := (controlplane.Pods{Program: "/pods", Names: "127.0.0.1:2", Databases: "127.0.0.1:3", Authority: "PEM", Region: "us-east-1"}); told.Config.Pods != want {
		t.Errorf("it is told of pods %+v", told.Config.Pods)
	}
	if !strings.HasPrefix(subnet, "172.31.") || !strings.HasSuffix(subnet, "/20") {
		t.Errorf("the node's subnet is %q", subnet)
	}
	hook := told.Config.Webhook
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(hook.Authority))
	way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer way.CloseIdleConnections()
	login := func(secret, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, hook.URL+"/login", strings.NewReader(body))
		ok(t, err)
		req.Header.Set("Authorization", "Bearer "+secret)
		res, err := way.RoundTrip(req)
		ok(t, err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		ok(t, err)
		return res.StatusCode, string(bytes.TrimSpace(text))
	}
	status, text := login(hook.Token, `{"node": "`+node+`"}`)
	var pair struct{ User, Password string }
	if err := json.Unmarshal([]byte(text), &pair); err != nil || status != 200 || pair.User != "AWS" {
		t.Fatalf("%d %s", status, text)
	}
	ok(t, w.box.Account().Do(func(tx *account.Tx) error {
		by, err := ecr.Principal(tx, pair.Password)
		role := w.roles[1][strings.LastIndex(w.roles[1], "/")+1:]
		if want := "arn:aws:sts::123456789012:assumed-role/" + role + "/" + instance; by.ARN != want {
			t.Errorf("the password is %s's, not %s's", by.ARN, want)
		}
		return err
	}))
	for _, tt := range []struct {
		secret, body string
		status       int
		want         string
	}{
		{"wrong", `{"node": "` + node + `"}`, 401, "alone are answered"},
		{hook.Token, `{"node": "ip-1"}`, 403, "cluster c has no node ip-1"},
		{hook.Token, `{}`, 400, "the name of a node is needed"},
	} {
		if status, text := login(tt.secret, tt.body); status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s with %s: %d %s", tt.body, tt.secret, status, text)
		}
	}
	// A role that may no longer.
	ok(t, testkit.Update(w.box, iam.TypeRole, w.roles[1][strings.LastIndex(w.roles[1], "/")+1:], obj{
		"ManagedPolicyArns": []any{"arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"}, "AssumeRolePolicyDocument": trustEC2,
	}))
	w.later(time.Minute)
	if status, text := login(hook.Token, `{"node": "`+node+`"}`); status != 403 || !strings.Contains(text, "is not authorized to perform: ecr:GetAuthorizationToken") {
		t.Errorf("a role that may not: %d %s", status, text)
	}
}
