package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admission "k8s.io/api/admission/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const role = "arn:aws:iam::123456789012:role/app"

func account(annotations map[string]string) *core.ServiceAccount {
	return &core.ServiceAccount{ObjectMeta: meta.ObjectMeta{Name: "app", Namespace: "team", Annotations: annotations}}
}

func pod() *core.Pod {
	return &core.Pod{Spec: core.PodSpec{ServiceAccountName: "app", InitContainers: []core.Container{{Name: "init"}}, Containers: []core.Container{{Name: "c"}, {Name: "other"}}}}
}

// given are a container's variables and mounts, in short.
func given(c core.Container) (out []string) {
	for _, e := range c.Env {
		out = append(out, e.Name+"="+e.Value)
	}
	for _, m := range c.VolumeMounts {
		out = append(out, m.Name+" at "+m.MountPath)
	}
	return out
}

// The pod identity webhook's documented behaviour.
// https://github.com/aws/amazon-eks-pod-identity-webhook#eks-walkthrough
func TestMutate(t *testing.T) {
	t.Parallel()
	all := []string{
		"AWS_STS_REGIONAL_ENDPOINTS=regional", "AWS_DEFAULT_REGION=eu-central-1", "AWS_REGION=eu-central-1", "AWS_ROLE_ARN=" + role,
		"AWS_WEB_IDENTITY_TOKEN_FILE=/var/run/secrets/eks.amazonaws.com/serviceaccount/token", "aws-iam-token at /var/run/secrets/eks.amazonaws.com/serviceaccount",
	}
	t.Run("everything", func(t *testing.T) {
		p := pod()
		if !Mutate(p, account(map[string]string{roleARN: role}), "eu-central-1") {
			t.Error("nothing changed")
		}
		for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
			if diff := cmp.Diff(all, given(c)); diff != "" {
				t.Errorf("container %s:\n%s", c.Name, diff)
			}
		}
		s := p.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken
		if s.Audience != "sts.amazonaws.com" || *s.ExpirationSeconds != 86400 || s.Path != "token" {
			t.Errorf("the token is %+v for %d s", s, *s.ExpirationSeconds)
		}
		// Once more, as after another webhook, nothing happens.
		before := p.DeepCopy()
		if Mutate(p, account(map[string]string{roleARN: role}), "eu-central-1") {
			t.Errorf("again:\n%s", cmp.Diff(before, p))
		}
	})
	t.Run("without a role", func(t *testing.T) {
		p := pod()
		if Mutate(p, account(nil), "eu-central-1") || cmp.Diff(pod(), p) != "" {
			t.Errorf("it became %+v", p.Spec)
		}
	})
	t.Run("annotations", func(t *testing.T) {
		p := pod()
		p.Annotations = map[string]string{skip: "other, init", expiration: "60"}
		Mutate(p, account(map[string]string{roleARN: role, audience: "mine", regional: "false", expiration: "7200"}), "eu-central-1")
		if got := given(p.Spec.Containers[0]); len(got) != 5 || got[0] != "AWS_DEFAULT_REGION=eu-central-1" {
			t.Errorf("the container gets %q", got)
		}
		if got := append(given(p.Spec.Containers[1]), given(p.Spec.InitContainers[0])...); len(got) != 0 {
			t.Errorf("containers that are skipped get %q", got)
		}
		if s := p.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken; s.Audience != "mine" || *s.ExpirationSeconds != 600 {
			t.Errorf("the token is for %s, for %d s", s.Audience, *s.ExpirationSeconds)
		}
	})
	t.Run("own variables stay", func(t *testing.T) {
		p := pod()
		p.Spec.Containers[0].Env = []core.EnvVar{{Name: "AWS_REGION", Value: "us-east-1"}, {Name: "AWS_ROLE_ARN", Value: "mine"}}
		Mutate(p, account(map[string]string{roleARN: role}), "eu-central-1")
		got := strings.Join(given(p.Spec.Containers[0]), " ")
		if !strings.HasPrefix(got, "AWS_REGION=us-east-1 AWS_ROLE_ARN=mine AWS_STS_REGIONAL_ENDPOINTS=regional AWS_DEFAULT_REGION=eu-central-1 aws-iam-token") {
			t.Errorf("it gets %s", got)
		}
	})
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	hook := Webhook{Region: "us-east-1", Account: func(_ context.Context, namespace, name string) (*core.ServiceAccount, error) {
		switch namespace + "/" + name {
		case "team/app":
			return account(map[string]string{roleARN: role}), nil
		case "team/none":
			return nil, nil
		}
		return nil, errors.New("no answer")
	}}
	ask := func(namespace, name string) *admission.AdmissionResponse {
		t.Helper()
		p := pod()
		p.Spec.ServiceAccountName = name
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(admission.AdmissionReview{TypeMeta: meta.TypeMeta{Kind: "AdmissionReview", APIVersion: "admission.k8s.io/v1"}, Request: &admission.AdmissionRequest{UID: "u", Namespace: namespace, Object: runtime.RawExtension{Raw: raw}}})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		hook.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/mutate", bytes.NewReader(body)))
		var out admission.AdmissionReview
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Response == nil || out.Response.UID != "u" || !out.Response.Allowed || out.Kind != "AdmissionReview" {
			t.Fatalf("%v %d %s", err, w.Code, w.Body)
		}
		return out.Response
	}
	if r := ask("team", "app"); r.PatchType == nil || !strings.Contains(string(r.Patch), role) {
		t.Errorf("the answer is %+v", r)
	}
	if r := ask("team", "none"); r.Patch != nil || len(r.Warnings) > 0 {
		t.Errorf("without an account the answer is %+v", r)
	}
	if r := ask("team", ""); r.Patch != nil || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "no answer") {
		t.Errorf("the account default is asked for: %+v", r)
	}
	for _, body := range []string{"", "{}", "x"} {
		w := httptest.NewRecorder()
		hook.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/mutate", strings.NewReader(body)))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%q: %d", body, w.Code)
		}
	}
}
