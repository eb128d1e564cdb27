package rehearse

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
)

// Entry is a host of the deployment's, asked through its load balancer over TLS.
type Entry struct {
	Host string `json:"host"`
	// Bound are the pods that are targets of its group, all healthy.
	Bound []string `json:"bound"`
	// Status is that of the answer to who has no session, and Leads where that sends
	// them, if it does.
	Status int    `json:"status,omitempty"`
	Leads  string `json:"leads,omitempty"`
	// User is who has signed in there, by Redirects.
	User      string `json:"user,omitempty"`
	Redirects int    `json:"redirects,omitempty"`
	// Pod is the one that answered, where pods say so.
	Pod string `json:"pod,omitempty"`
	// LeftOut is what wasn't seen, and why.
	LeftOut string `json:"leftOut,omitempty"`
}

// Told is what a component of the sample says of itself.
type Told struct {
	Component string `json:"component"`
	Pod       string `json:"pod"`
	// Host is by which it was asked.
	Host   string  `json:"host"`
	Checks []Check `json:"checks"`
}

// Check is one thing that a component needs.
type Check struct {
	Check    string `json:"check"`
	Required bool   `json:"required"`
	OK       bool   `json:"ok"`
	// Says is what the component has seen, or why it isn't as it should be.
	Says string `json:"says"`
	// LeftOut is why there is nothing to be seen here.
	LeftOut string `json:"leftOut,omitempty"`
}

// reach asks the deployment's hosts, through their load balancers.
func (c *peopled) reach() (string, error) {
	return held(c.run, func() (string, error) {
		t := c.target(StepReach, nil)
		outputs, err := deploy.Outputs(c.p.ctx, t)
		if err != nil {
			return "", err
		}
		if err := c.speak(t, func(k *kube) error { return c.reachAll(k, outputs[architecture.Edge]) }); err != nil {
			return "", err
		}
		answered, entries := 0, c.report.Pods.Entries
		for _, e := range entries {
			if e.Status != 0 {
				answered++
			}
		}
		return fmt.Sprintf("%d of %s answered", answered, count(len(entries), "host")), nil
	})
}

// reachAll asks the hosts behind which some target groups are, outputs of the stack edge.
func (c *peopled) reachAll(k *kube, groups map[string]string) error {
	access := c.next.Config.Access
	v := &Visit{Proxy: c.Proxy, Roots: c.Roots, Users: c.Users}
	for _, h := range []struct {
		group, host, core string
		users             bool
		user              User
	}{
		{group: "WebTargetGroupArn", host: access.Web.Host, users: access.SSO.Enabled, user: c.Users[0]},
		{group: "ApiTargetGroupArn", host: access.API.Host, core: "/core/report"},
		{group: "AdminTargetGroupArn", host: access.Admin.Host, users: access.SSO.Enabled, user: c.Users[1]},
	} {
		e := Entry{Host: h.host}
		err := c.bound(k, groups[h.group], &e)
		switch {
		case err != nil:
		case len(e.Bound) == 0:
			e.LeftOut = "no pod is bound to its target group"
		case h.users:
			err = c.enter(v, &e, h.user)
		default:
			err = c.ask(v, &e, h.core)
		}
		c.report.Pods.Entries = append(c.report.Pods.Entries, e)
		if err != nil {
			return fmt.Errorf("ask %s: %w", h.host, err)
		}
	}
	return nil
}

// bound waits until the pods that Kubernetes binds to a group are its targets, and all
// targets healthy, and says which pods they are.
func (c *peopled) bound(k *kube, group string, e *Entry) error {
	return c.eventually(c.p.ctx, func() error {
		e.Bound = []string{}
		want, err := k.behind(c.p.ctx, group)
		if err != nil {
			return err
		}
		out, err := c.p.clients.ELB.DescribeTargetHealth(c.p.ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &group})
		if err != nil {
			return fmt.Errorf("look at targets of %s: %w", group, err)
		}
		for _, t := range out.TargetHealthDescriptions {
			at := aws.ToString(t.Target.Id)
			if t.TargetHealth.State != types.TargetHealthStateEnumHealthy {
				return fmt.Errorf("target %s of %s is %s: %s", at, group, t.TargetHealth.State, aws.ToString(t.TargetHealth.Description))
			}
			i := slices.IndexFunc(c.report.Pods.Ran, func(one Pod) bool { return one.Address == at })
			if i < 0 {
				return &MismatchError{"the targets of " + group, []string{at + " is no pod's address"}}
			}
			e.Bound = append(e.Bound, c.report.Pods.Ran[i].Name)
			delete(want, at)
		}
		if len(want) > 0 {
			return &MismatchError{"the targets of " + group, []string{"these pods, which are bound to it, are none: " + strings.Join(slices.Sorted(maps.Keys(want)), ", ")}}
		}
		if len(e.Bound) == 0 && c.Reports {
			return &MismatchError{"the targets of " + group, []string{"there is none, and the sample binds pods to it"}}
		}
		slices.Sort(e.Bound)
		return nil
	})
}

// behind are the addresses of the ready pods of services that objects bind to a target
// group; none where there are no such objects.
// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/targetgroupbinding/targetgroupbinding/
func (k *kube) behind(ctx context.Context, group string) (map[string]bool, error) {
	var list struct {
		Items []struct {
			Metadata struct{ Namespace string }
			Spec     struct {
				TargetGroupARN, TargetGroupName string
				ServiceRef                      struct{ Name string }
			}
		}
	}
	var refusal *statusError
	err := k.do(ctx, http.MethodGet, "/apis/elbv2.k8s.aws/v1beta1/targetgroupbindings", nil, &list)
	if errors.As(err, &refusal) && refusal.code == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, b := range list.Items {
		name := b.Spec.TargetGroupName
		if b.Spec.TargetGroupARN != group && (name == "" || !strings.Contains(group, ":targetgroup/"+name+"/")) {
			continue
		}
		var slices struct {
			Items []struct {
				Endpoints []struct {
					Addresses  []string
					Conditions struct{ Ready *bool }
				}
			}
		}
		path := "/apis/discovery.k8s.io/v1/namespaces/" + b.Metadata.Namespace + "/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D" + b.Spec.ServiceRef.Name
		if err := k.do(ctx, http.MethodGet, path, nil, &slices); err != nil {
			return nil, err
		}
		for _, s := range slices.Items {
			for _, e := range s.Endpoints {
				for _, a := range e.Addresses {
					if ready := e.Conditions.Ready; ready == nil || *ready {
						found[a] = true
					}
				}
			}
		}
	}
	return found, nil
}

// ask asks a host that lets in whoever comes, and by another path the component behind
// the one that answers.
func (c *peopled) ask(v *Visit, e *Entry, behind string) error {
	path := "/"
	if c.Reports {
		path = "/report"
	}
	answer, text, err := v.once(c.p.ctx, "https://"+e.Host+path)
	if err != nil {
		return err
	}
	if e.Status = answer.StatusCode; !c.Reports {
		if e.Status == http.StatusBadGateway || e.Status == http.StatusGatewayTimeout {
			return &MismatchError{"what answers for " + e.Host, []string{answer.Status + ", which is the load balancer's: no pod answered it"}}
		}
		return nil
	}
	if err := c.told(e, answer, text); err != nil || behind == "" {
		return err
	}
	if answer, text, err = v.once(c.p.ctx, "https://"+e.Host+behind); err != nil {
		return err
	}
	_, err = c.listen(e.Host, answer, text)
	return err
}

// enter asks a host that only users are let in by: without a session, and then as one.
func (c *peopled) enter(v *Visit, e *Entry, u User) error {
	answer, _, err := v.once(c.p.ctx, "https://"+e.Host+"/")
	if err != nil {
		return err
	}
	e.Status = answer.StatusCode
	to, err := answer.Location()
	sso := c.next.Config.Access.SSO
	want, wrong := url.Parse(cmp.Or(sso.AuthorizationEndpoint, sso.Issuer))
	if err != nil || wrong != nil || answer.StatusCode != http.StatusFound || to.Host != want.Host {
		return &MismatchError{e.Host + " without a session", []string{fmt.Sprintf("answers %s %s, and doesn't lead to %s", answer.Status, answer.Header.Get("Location"), sso.Issuer)}}
	}
	e.Leads = to.Scheme + "://" + to.Host + to.Path
	switch {
	case u.Name == "":
		e.LeftOut = "nobody signed in" + c.NoUsers
		return nil
	case !c.Reports:
		e.LeftOut = "nobody signed in: what a page of this bundle is is not known"
		return nil
	}
	var text string
	if e.Redirects, answer, text, err = v.enter(c.p.ctx, e.Host, "/report", u); err != nil {
		return err
	}
	e.User = u.Name
	return c.told(e, answer, text)
}

// told takes down who answered for a host: one of the pods that are bound to it.
func (c *peopled) told(e *Entry, answer *http.Response, text string) (err error) {
	if e.Pod, err = c.listen(e.Host, answer, text); err != nil {
		return err
	}
	if !slices.Contains(e.Bound, e.Pod) {
		return &MismatchError{"who answers for " + e.Host, []string{fmt.Sprintf("%s, which is none of %s", e.Pod, strings.Join(e.Bound, ", "))}}
	}
	return nil
}

// listen takes down a component's report. What it needs and hasn't is an error, but for
// rows where databases hold none.
func (c *peopled) listen(host string, answer *http.Response, text string) (pod string, err error) {
	told := Told{Host: host}
	if err := json.Unmarshal([]byte(text), &told); err != nil || told.Pod == "" || len(told.Checks) == 0 {
		return "", fmt.Errorf("%s answers %s, and not with a report: %.200q", answer.Request.URL, answer.Status, text)
	}
	var wrong []string
	for i := range told.Checks {
		one := &told.Checks[i]
		switch {
		case one.OK:
		case one.Check == "database" && c.NoRows != "":
			one.LeftOut = "databases hold no rows here" + c.NoRows
		case one.Required:
			wrong = append(wrong, one.Check+": "+one.Says)
		}
	}
	c.report.Pods.Told = append(c.report.Pods.Told, told)
	if wrong != nil {
		return "", &MismatchError{"what pod " + told.Pod + " reaches", wrong}
	}
	return told.Pod, nil
}

// once asks once, without following where an answer leads. The body has been read.
func (v *Visit) once(ctx context.Context, to string) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, http.NoBody)
	if err != nil {
		return nil, "", err
	}
	transport := v.transport()
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostPage))
	return answer, string(text), errors.Join(err, answer.Body.Close())
}

// mostPage is how much of an answer is read, in bytes.
const mostPage = 1 << 20

func (v *Visit) transport() *http.Transport {
	return &http.Transport{Proxy: http.ProxyURL(v.Proxy), TLSClientConfig: &tls.Config{RootCAs: v.Roots, MinVersion: tls.VersionTLS12}}
}
