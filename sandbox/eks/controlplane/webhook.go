package controlplane

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
)

// What a token of EKS begins with, which header of the request in it names the
// cluster, and for how many seconds it may be signed.
// https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster
const (
	tokenPrefix   = "k8s-aws-v1."
	clusterHeader = "x-k8s-aws-id"
	mostExpiry    = 900
	mostToken     = 4 << 10
)

// The keys under which a user carries what is known of its principal.
const (
	entryKey   = "canonicalArn"
	arnKey     = "arn"
	sessionKey = "sessionName"
	idKey      = "principalId"
)

// webhook answers control planes, each by its own secret.
func (c *Clusters) webhook() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{id}/authenticate", c.asked(c.authenticate))
	mux.HandleFunc("POST /{id}/authorize", c.asked(c.authorize))
	mux.HandleFunc("POST /{id}/login", c.login)
	return mux
}

// review is a TokenReview or a SubjectAccessReview, as far as it is looked at.
type review struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Spec       reviewSpec `json:"spec,omitzero"`
	Status     any        `json:"status"`
}

type reviewSpec struct {
	Token              string              `json:"token,omitempty"`
	Extra              map[string][]string `json:"extra,omitempty"`
	ResourceAttributes *struct {
		Namespace, Verb, Group, Resource, Subresource string
	} `json:"resourceAttributes,omitempty"`
	NonResourceAttributes *struct{ Path, Verb string } `json:"nonResourceAttributes,omitempty"`
}

func (c *Clusters) asked(answer func(r *http.Request, cluster string, spec reviewSpec) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who := c.caller(w, r)
		if who == nil {
			return
		}
		var in review
		const most = 1 << 20
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, most)).Decode(&in); err != nil {
			http.Error(w, "a review is needed: "+err.Error(), http.StatusBadRequest)
			return
		}
		status, err := answer(r, who.cluster, in.Spec)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		// The control plane may be gone.
		_ = json.NewEncoder(w).Encode(review{APIVersion: in.APIVersion, Kind: in.Kind, Status: status})
	}
}

// caller is the control plane that asks; nil if it is none, which is answered.
func (c *Clusters) caller(w http.ResponseWriter, r *http.Request) *running {
	c.mu.Lock()
	who := c.running[r.PathValue("id")]
	c.mu.Unlock()
	if who == nil || subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+who.secret)) != 1 {
		http.Error(w, "control planes of the sandbox alone are answered", http.StatusUnauthorized)
		return nil
	}
	return who
}

type user struct {
	Username string              `json:"username"`
	UID      string              `json:"uid,omitempty"`
	Groups   []string            `json:"groups,omitempty"`
	Extra    map[string][]string `json:"extra,omitempty"`
}

type tokenStatus struct {
	Authenticated bool   `json:"authenticated"`
	User          *user  `json:"user,omitempty"`
	Error         string `json:"error,omitempty"`
}

// authenticate tells who is behind a token.
func (c *Clusters) authenticate(r *http.Request, cluster string, spec reviewSpec) (any, error) {
	no := func(err error) (any, error) { return tokenStatus{Error: err.Error()}, nil }
	signed, err := readToken(spec.Token)
	if err != nil {
		return no(err)
	}
	arn, id, key, err := c.identity(r, cluster, signed)
	if err != nil {
		return no(err)
	}
	var u eks.User
	known := false
	err = c.opts.Account.Do(func(tx *account.Tx) error {
		tx.Reads()
		u, known = eks.Authenticate(tx, cluster, arn, id)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !known:
		return no(fmt.Errorf("cluster %s has no access entry for %s", cluster, arn))
	}
	extra := map[string][]string{arnKey: {arn}, entryKey: {u.Entry}, idKey: {id}, "accessKeyId": {key}, sessionKey: {u.Session}}
	return tokenStatus{Authenticated: true, User: &user{Username: u.Name, UID: u.UID, Groups: u.Groups, Extra: extra}}, nil
}

// readToken is the request to STS that a token of EKS is.
func readToken(token string) (*url.URL, error) {
	text, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(token) > mostToken {
		return nil, errors.New("no token of EKS")
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, errors.New("the token of EKS is not base64")
	}
	u, err := url.Parse(string(raw))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Path != "/" && u.Path != "" || u.User != nil {
		return nil, errors.New("the token of EKS is no request to STS")
	}
	q := u.Query()
	for k, v := range q {
		if lower := strings.ToLower(k); len(v) != 1 || !slices.Contains([]string{"action", "version"}, lower) && !strings.HasPrefix(lower, "x-amz-") {
			return nil, fmt.Errorf("the request in the token of EKS has the parameter %.40q", k)
		}
	}
	expiry, err := strconv.Atoi(q.Get("X-Amz-Expires"))
	switch {
	case q.Get("Action") != "GetCallerIdentity":
		return nil, errors.New("the request in the token of EKS is not GetCallerIdentity")
	case err != nil || expiry < 0 || expiry > mostExpiry:
		return nil, fmt.Errorf("the request in the token of EKS is for more than %d seconds", mostExpiry)
	case !slices.Contains(strings.Split(strings.ToLower(q.Get("X-Amz-SignedHeaders")), ";"), clusterHeader):
		return nil, fmt.Errorf("the request in the token of EKS names no cluster: %s is not signed", clusterHeader)
	}
	return u, nil
}

// identity asks STS who has signed a request for a cluster.
func (c *Clusters) identity(r *http.Request, cluster string, signed *url.URL) (arn, id, key string, err error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, signed.String(), nil)
	if err != nil {
		return "", "", "", errors.New("the token of EKS is no request to STS")
	}
	req.RequestURI, req.RemoteAddr = signed.RequestURI(), r.RemoteAddr
	req.Header.Set(clusterHeader, cluster)
	w := &answer{header: http.Header{}, status: http.StatusOK}
	c.opts.AWS.ServeHTTP(w, req)
	if w.status != http.StatusOK {
		var refused struct {
			Error struct{ Code, Message string }
		}
		if xml.Unmarshal(w.body.Bytes(), &refused) != nil || refused.Error.Code == "" {
			return "", "", "", fmt.Errorf("STS answers %d", w.status)
		}
		return "", "", "", fmt.Errorf("STS: %s: %s", refused.Error.Code, refused.Error.Message)
	}
	var out struct {
		Result struct{ Arn, UserId string } `xml:"GetCallerIdentityResult"`
	}
	if err := xml.Unmarshal(w.body.Bytes(), &out); err != nil || out.Result.Arn == "" {
		return "", "", "", errors.New("STS doesn't say who it is")
	}
	key, _, _ = strings.Cut(signed.Query().Get("X-Amz-Credential"), "/")
	return out.Result.Arn, out.Result.UserId, key, nil
}

// answer takes what a handler answers.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) { a.status = status }

// Write implements [http.ResponseWriter].
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

type accessStatus struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason,omitempty"`
}

// authorize tells what access policies say of a request, whose user's principal
// is in its extra keys. Whoever impersonates another has none of them.
func (c *Clusters) authorize(_ *http.Request, cluster string, spec reviewSpec) (any, error) {
	entry := spec.Extra[strings.ToLower(entryKey)]
	if len(entry) == 0 {
		entry = spec.Extra[entryKey]
	}
	if len(entry) != 1 {
		return accessStatus{}, nil
	}
	var ask eks.Ask
	switch {
	case spec.ResourceAttributes != nil:
		a := spec.ResourceAttributes
		ask = eks.Ask{Verb: a.Verb, Group: a.Group, Resource: a.Resource, Namespace: a.Namespace}
		if a.Subresource != "" {
			ask.Resource += "/" + a.Subresource
		}
	case spec.NonResourceAttributes != nil:
		ask = eks.Ask{Verb: spec.NonResourceAttributes.Verb, Path: spec.NonResourceAttributes.Path}
	default:
		return accessStatus{}, nil
	}
	var status accessStatus
	err := c.opts.Account.Do(func(tx *account.Tx) error {
		tx.Reads()
		status.Allowed, status.Reason = eks.Allowed(tx, cluster, entry[0], ask)
		return nil
	})
	return status, err
}
