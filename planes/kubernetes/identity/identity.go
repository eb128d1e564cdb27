// Package identity gives pods the roles of their service accounts, as EKS's
// control plane does by its pod identity webhook: a token for STS as a file, and
// the variables by which AWS's SDKs find it.
//
// https://github.com/aws/amazon-eks-pod-identity-webhook
//
// Limits: EKS Pod Identity associations are not modelled.
package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	admission "k8s.io/api/admission/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The annotations of service accounts and, for the last two, of pods.
const (
	roleARN    = "eks.amazonaws.com/role-arn"
	audience   = "eks.amazonaws.com/audience"
	regional   = "eks.amazonaws.com/sts-regional-endpoints"
	expiration = "eks.amazonaws.com/token-expiration"
	skip       = "eks.amazonaws.com/skip-containers"
)

// What a pod is given.
const (
	volumeName      = "aws-iam-token"
	mountPath       = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
	tokenFile       = "token"
	defaultAudience = "sts.amazonaws.com"
	lasts           = 24 * 60 * 60
	leastLasts      = 10 * 60
)

// Mutate gives a pod the role of its service account, if that has one, and tells
// whether it did.
func Mutate(p *core.Pod, account *core.ServiceAccount, region string) bool {
	role := account.Annotations[roleARN]
	if role == "" {
		return false
	}
	skipped := strings.FieldsFunc(p.Annotations[skip], func(r rune) bool { return r == ',' || r == ' ' })
	env := []core.EnvVar{
		{Name: "AWS_DEFAULT_REGION", Value: region},
		{Name: "AWS_REGION", Value: region},
		{Name: "AWS_ROLE_ARN", Value: role},
		{Name: "AWS_WEB_IDENTITY_TOKEN_FILE", Value: path.Join(mountPath, tokenFile)},
	}
	if account.Annotations[regional] != "false" {
		env = slices.Insert(env, 0, core.EnvVar{Name: "AWS_STS_REGIONAL_ENDPOINTS", Value: "regional"})
	}
	changed := false
	for _, list := range [][]core.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if !slices.Contains(skipped, list[i].Name) {
				changed = give(&list[i], env) || changed
			}
		}
	}
	if slices.ContainsFunc(p.Spec.Volumes, func(v core.Volume) bool { return v.Name == volumeName }) {
		return changed
	}
	whose, seconds := account.Annotations[audience], int64(lasts)
	if whose == "" {
		whose = defaultAudience
	}
	for _, text := range []string{account.Annotations[expiration], p.Annotations[expiration]} {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			seconds = max(n, leastLasts)
		}
	}
	p.Spec.Volumes = append(p.Spec.Volumes, core.Volume{Name: volumeName, VolumeSource: core.VolumeSource{Projected: &core.ProjectedVolumeSource{
		Sources: []core.VolumeProjection{{ServiceAccountToken: &core.ServiceAccountTokenProjection{Audience: whose, ExpirationSeconds: &seconds, Path: tokenFile}}},
	}}})
	return true
}

// give gives a container the variables that it hasn't, and the file. One that
// names a role or a token itself is left alone.
func give(c *core.Container, env []core.EnvVar) bool {
	has := func(name string) bool {
		return slices.ContainsFunc(c.Env, func(e core.EnvVar) bool { return e.Name == name })
	}
	changed := false
	own := has("AWS_ROLE_ARN") || has("AWS_WEB_IDENTITY_TOKEN_FILE")
	for _, e := range env {
		if has(e.Name) || own && (e.Name == "AWS_ROLE_ARN" || e.Name == "AWS_WEB_IDENTITY_TOKEN_FILE") {
			continue
		}
		c.Env, changed = append(c.Env, e), true
	}
	if !slices.ContainsFunc(c.VolumeMounts, func(m core.VolumeMount) bool { return m.MountPath == mountPath }) {
		c.VolumeMounts, changed = append(c.VolumeMounts, core.VolumeMount{Name: volumeName, ReadOnly: true, MountPath: mountPath}), true
	}
	return changed
}

// Webhook answers reviews of pods that are to be made.
type Webhook struct {
	Region string
	// Account finds a service account.
	Account func(ctx context.Context, namespace, name string) (*core.ServiceAccount, error)
}

// mostReview is how long a review is at most.
const mostReview = 4 << 20

// ServeHTTP implements [http.Handler]. A pod whose service account isn't there is
// let through as it is: whoever refuses it is another.
func (w Webhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var in admission.AdmissionReview
	if err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, mostReview)).Decode(&in); err != nil || in.Request == nil {
		http.Error(rw, "a review of an admission is needed", http.StatusBadRequest)
		_, _ = io.Copy(io.Discard, r.Body)
		return
	}
	out := &admission.AdmissionResponse{UID: in.Request.UID, Allowed: true}
	if patch, err := w.patch(r.Context(), in.Request); err != nil {
		out.Warnings = []string{"the pod gets no role of AWS: " + err.Error()}
	} else if patch != nil {
		kind := admission.PatchTypeJSONPatch
		out.Patch, out.PatchType = patch, &kind
	}
	rw.Header().Set("Content-Type", "application/json")
	// The API server may be gone.
	_ = json.NewEncoder(rw).Encode(admission.AdmissionReview{TypeMeta: in.TypeMeta, Response: out})
}

// patch is what changes a pod, nil if nothing does.
func (w Webhook) patch(ctx context.Context, r *admission.AdmissionRequest) ([]byte, error) {
	var p core.Pod
	if err := json.Unmarshal(r.Object.Raw, &p); err != nil {
		return nil, fmt.Errorf("read the pod: %w", err)
	}
	name := p.Spec.ServiceAccountName
	if name == "" {
		name = "default"
	}
	account, err := w.Account(ctx, r.Namespace, name)
	if err != nil {
		return nil, err
	}
	if account == nil {
		account = &core.ServiceAccount{ObjectMeta: meta.ObjectMeta{Name: name, Namespace: r.Namespace}}
	}
	if !Mutate(&p, account, w.Region) {
		return nil, nil
	}
	return json.Marshal([]map[string]any{{"op": "replace", "path": "/spec", "value": p.Spec}})
}
