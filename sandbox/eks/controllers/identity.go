package controllers

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/sts"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// identity is a service account of a controller, with what its program is told.
type identity struct {
	namespace, name string
	args            []string
}

// deployment is one, as far as it is looked at.
type deployment struct {
	head
	Spec struct {
		Replicas *int
		Template struct {
			Spec struct {
				ServiceAccountName string
				Containers         []struct{ Command, Args []string }
			}
		}
	} `json:"spec"`
	Status struct{ ReadyReplicas int } `json:"status"`
}

// installed is the account that a controller's pods have, by the name that its chart
// labels its Deployment and its pods with; nil as long as no pod of it does its work.
// https://github.com/aws/eks-charts/tree/master/stable/aws-load-balancer-controller
// https://github.com/external-secrets/external-secrets/tree/main/deploy/charts/external-secrets
// https://github.com/kubernetes/autoscaler/blob/master/charts/cluster-autoscaler/templates/_helpers.tpl
func (o Options) installed(ctx context.Context, chart string) (*identity, error) {
	list, err := listOf[deployment](ctx, o, "/apis/apps/v1/deployments"+labelled+chart)
	if err != nil {
		return nil, err
	}
	for i := range list {
		d := &list[i]
		if d.going() || d.Spec.Replicas != nil && *d.Spec.Replicas == 0 {
			continue
		}
		if works, err := o.works(ctx, d, chart); err != nil {
			return nil, err
		} else if works {
			spec := d.Spec.Template.Spec
			as := &identity{namespace: d.Metadata.Namespace, name: cmp.Or(spec.ServiceAccountName, "default")}
			for _, c := range spec.Containers {
				as.args = slices.Concat(as.args, c.Command, c.Args)
			}
			return as, nil
		}
	}
	return nil, nil
}

// labelled chooses objects by the name of their chart, which follows.
const labelled = "?labelSelector=app.kubernetes.io%2Fname%3D"

// works tells that a pod of a deployment does its work.
func (o Options) works(ctx context.Context, d *deployment, chart string) (bool, error) {
	if d.Status.ReadyReplicas > 0 {
		return true, nil
	}
	pods, err := listOf[placed](ctx, o, "/api/v1/namespaces/"+d.Metadata.Namespace+"/pods"+labelled+chart)
	return slices.ContainsFunc(pods, func(p placed) bool { return p.serves() }), err
}

// audience is whom tokens for AWS are for, and roleAnnotation says which role an
// account gets by one.
// https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html
const (
	audience       = "sts.amazonaws.com"
	roleAnnotation = "eks.amazonaws.com/role-arn"
)

// as are the credentials that a pod of a service account gets: of the account's role,
// if that trusts the cluster's token for the account.
func (o Options) as(ctx context.Context, who identity) (by wire.Credential, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("act as service account %s/%s: %w", who.namespace, who.name, err)
		}
	}()
	path := "/api/v1/namespaces/" + who.namespace + "/serviceaccounts/" + who.name
	var have head
	if err := o.ask(ctx, http.MethodGet, path, "", nil, &have); err != nil {
		return by, err
	}
	role := have.Metadata.Annotations[roleAnnotation]
	if role == "" {
		return by, errors.New("it has no role: the annotation " + roleAnnotation + " is missing")
	}
	var token struct{ Status struct{ Token string } }
	err = o.ask(ctx, http.MethodPost, path+"/token", "application/json", map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": map[string]any{"audiences": []any{audience}},
	}, &token)
	if err != nil {
		return by, err
	}
	answer, err := o.aws(ctx, by, "sts", "AssumeRoleWithWebIdentity", map[string]any{
		"RoleArn": role, "RoleSessionName": who.name, "WebIdentityToken": token.Status.Token,
	})
	if err != nil {
		return by, err
	}
	var out struct {
		Result struct {
			Credentials struct{ AccessKeyId, SessionToken string }
		} `xml:"AssumeRoleWithWebIdentityResult"`
	}
	if err := xml.Unmarshal(answer, &out); err != nil {
		return by, fmt.Errorf("read the answer of STS: %w", err)
	}
	err = o.Account.Do(func(tx *account.Tx) (err error) {
		tx.Reads()
		by, err = sts.Lookup(tx, out.Result.Credentials.AccessKeyId, out.Result.Credentials.SessionToken)
		return err
	})
	return by, err
}

// aws calls an operation. Its answer is as on the wire.
func (o Options) aws(ctx context.Context, by wire.Credential, service, operation string, in map[string]any) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+service, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := o.Call(r, by, service, operation, in, nil)
	if refused, ok := errors.AsType[*account.Error](err); ok {
		return nil, fmt.Errorf("%s:%s: %w", service, operation, refused)
	}
	if err != nil {
		return nil, fmt.Errorf("%s:%s: %w", service, operation, err)
	}
	return answer.Body, nil
}

// fetch is [Options.aws] of a service that answers in JSON.
func (o Options) fetch(ctx context.Context, by wire.Credential, service, operation string, in map[string]any, out any) error {
	text, err := o.aws(ctx, by, service, operation, in)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("read the answer of %s:%s: %w", service, operation, err)
	}
	return nil
}
