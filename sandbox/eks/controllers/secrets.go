package controllers

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// What the External Secrets Operator has, and puts on what it makes.
// https://github.com/external-secrets/external-secrets/blob/main/apis/externalsecrets/v1/externalsecret_types.go
const (
	secretsVersion = "external-secrets.io/v1"
	secretsBase    = "/apis/" + secretsVersion
	managedLabel   = "reconcile.external-secrets.io/managed"
	hashAnnotation = "reconcile.external-secrets.io/data-hash"
)

// remote is where a value is.
type remote struct{ Key, Property, Version, DecodingStrategy, MetadataPolicy string }

// externalSecret is an ExternalSecret.
type externalSecret struct {
	head
	Spec struct {
		RefreshInterval, RefreshPolicy string
		SecretStoreRef                 struct{ Name, Kind string }
		Target                         struct {
			Name, CreationPolicy, DeletionPolicy string
			Immutable                            bool
			Template                             *struct {
				Type, MergePolicy string
				Metadata          struct{ Labels, Annotations map[string]string }
				Data              map[string]string
				TemplateFrom      []any
			}
		}
		Data []struct {
			SecretKey string
			RemoteRef remote
			SourceRef any
		}
		DataFrom []struct {
			Extract                  *remote
			Find, Rewrite, SourceRef any
		}
	} `json:"spec"`
	Status struct {
		RefreshTime, SyncedResourceVersion string
		Conditions                         []condition
	} `json:"status"`
}

// condition is one of an object.
type condition struct {
	Type               string `json:"type"`
	Status             string `json:"status"`
	Reason             string `json:"reason"`
	Message            string `json:"message"`
	LastTransitionTime string `json:"lastTransitionTime"`
}

// store is a SecretStore, or a ClusterSecretStore, which has no namespace.
type store struct {
	head
	Spec struct {
		Conditions []any
		Provider   struct {
			AWS *struct {
				Service, Region, Role, ExternalID string
				Auth                              struct {
					JWT *struct {
						ServiceAccountRef *struct {
							Name, Namespace string
							Audiences       []string
						}
					}
					SecretRef any
				}
			}
		}
	} `json:"spec"`
	Status struct{ Conditions []condition } `json:"status"`
}

// externalSecrets are what the operator does, whose pods have a service account: it
// judges stores, and keeps the Secrets that ExternalSecrets ask for.
func (o Options) externalSecrets(ctx context.Context, as identity) error {
	if o.Call == nil {
		return nil
	}
	stores := map[string]*store{} // by KIND/NAMESPACE/NAME
	var errs []error
	for kind, plural := range map[string]string{"SecretStore": "secretstores", "ClusterSecretStore": "clustersecretstores"} {
		list, err := listOf[store](ctx, o, secretsBase+"/"+plural)
		if err != nil {
			return err
		}
		for i := range list {
			s := &list[i]
			stores[kind+"/"+s.Metadata.Namespace+"/"+s.Metadata.Name] = s
			errs = append(errs, o.judge(ctx, s, plural))
		}
	}
	list, err := listOf[externalSecret](ctx, o, secretsBase+"/externalsecrets")
	if err != nil {
		return err
	}
	for i := range list {
		if e := &list[i]; !e.going() {
			errs = append(errs, o.keep(ctx, as, e, stores))
		}
	}
	return errors.Join(errs...)
}

// wrong is why a store can't be used; nil if it can.
func (s *store) wrong() error {
	aws := s.Spec.Provider.AWS
	switch {
	case aws == nil:
		return account.NotModelled("providers of secrets other than aws are not modelled by the sandbox")
	case aws.Service != "SecretsManager" && aws.Service != "ParameterStore":
		return fmt.Errorf("the service %q is neither SecretsManager nor ParameterStore", aws.Service)
	case aws.Role != "" || aws.ExternalID != "":
		return account.NotModelled("roles that stores assume are not modelled by the sandbox")
	case aws.Auth.SecretRef != nil:
		return account.NotModelled("stores with keys of users are not modelled by the sandbox")
	case aws.Auth.JWT != nil && (aws.Auth.JWT.ServiceAccountRef == nil || aws.Auth.JWT.ServiceAccountRef.Name == ""):
		return errors.New("auth.jwt names no service account")
	case len(s.Spec.Conditions) > 0:
		return account.NotModelled("stores for some namespaces are not modelled by the sandbox")
	}
	return nil
}

// judge says of a store whether it is one.
func (o Options) judge(ctx context.Context, s *store, plural string) error {
	want := condition{Type: "Ready", Status: "True", Reason: "Valid", Message: "store validated"}
	if err := s.wrong(); err != nil {
		want.Status, want.Reason, want.Message = "False", "InvalidProviderConfig", err.Error()
	}
	if same(s.Status.Conditions, want) {
		return nil
	}
	path := secretsBase
	if n := s.Metadata.Namespace; n != "" {
		path += "/namespaces/" + n
	}
	want.LastTransitionTime = o.now().Format(time.RFC3339)
	return o.patch(ctx, path+"/"+plural+"/"+s.Metadata.Name+"/status", &s.head, map[string]any{"status": map[string]any{"conditions": []condition{want}}})
}

// same tells that conditions say already what one does.
func same(list []condition, want condition) bool {
	return slices.ContainsFunc(list, func(c condition) bool {
		c.LastTransitionTime = ""
		return c == want
	})
}

// now is the account's time, by which secrets are refreshed.
func (o Options) now() (t time.Time) {
	_ = o.Account.Do(func(tx *account.Tx) error { // it only reads
		tx.Reads()
		t = tx.Now().UTC()
		return nil
	})
	return t
}

// keep makes and refreshes the Secret of an ExternalSecret, and says how that went.
func (o Options) keep(ctx context.Context, as identity, e *externalSecret, stores map[string]*store) error {
	m := e.Metadata
	have, err := o.secretOf(ctx, e)
	if err != nil {
		return err
	}
	now := o.now()
	due, err := e.due(have, now)
	if !due && err == nil {
		return nil
	}
	var data map[string][]byte
	if err == nil {
		if data, err = o.values(ctx, as, e, stores); err != nil {
			err = fmt.Errorf("could not get secret data from provider: %w", err)
		}
	}
	if err == nil {
		if err = o.write(ctx, e, have, data); err != nil {
			err = fmt.Errorf("could not update secret: %w", err)
		}
	}
	status := map[string]any{}
	said := condition{Type: "Ready", Status: "True", Reason: "SecretSynced", Message: "secret synced"}
	if err != nil {
		said.Status, said.Reason, said.Message = "False", "SecretSyncedError", err.Error()
		if same(e.Status.Conditions, said) {
			return nil
		}
	} else {
		status["refreshTime"], status["syncedResourceVersion"], status["binding"] = now.Format(time.RFC3339), e.version(), map[string]any{"name": e.secret()}
	}
	said.LastTransitionTime = now.Format(time.RFC3339)
	for _, c := range e.Status.Conditions {
		if c.Type == said.Type && c.Status == said.Status {
			said.LastTransitionTime = c.LastTransitionTime
		}
	}
	status["conditions"] = []condition{said}
	return o.patch(ctx, secretsBase+"/namespaces/"+m.Namespace+"/externalsecrets/"+m.Name+"/status", &e.head, map[string]any{"status": status})
}

// secret is the name of the Secret.
func (e *externalSecret) secret() string { return cmp.Or(e.Spec.Target.Name, e.Metadata.Name) }

// version is what the status says was synced.
func (e *externalSecret) version() string {
	text, _ := json.Marshal(e.Spec) // it was read from JSON
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%d-%s", e.Metadata.Generation, hex.EncodeToString(sum[:14]))
}

// due tells whether the Secret is to be made or refreshed: it changed or is gone, what is
// asked for changed, or its time has come.
// https://external-secrets.io/latest/api/externalsecret/#update-behavior-with-3-different-refresh-policies
func (e *externalSecret) due(have *kubeSecret, now time.Time) (bool, error) {
	every := time.Hour
	if v := e.Spec.RefreshInterval; v != "" {
		var err error
		if every, err = time.ParseDuration(v); err != nil {
			return false, fmt.Errorf("refreshInterval %q is no duration", v)
		}
	}
	last, err := time.Parse(time.RFC3339, e.Status.RefreshTime)
	if err != nil { // there was none
		return true, nil
	}
	changed := e.Status.SyncedResourceVersion != e.version()
	lost := e.Spec.Target.CreationPolicy != "None" && (have == nil || have.Metadata.Annotations[hashAnnotation] != have.hash())
	switch e.Spec.RefreshPolicy {
	case "CreatedOnce":
		return lost, nil
	case "OnChange":
		return changed || lost, nil
	case "", "Periodic":
		return changed || lost || every > 0 && !now.Before(last.Add(every)), nil
	}
	return false, fmt.Errorf("refreshPolicy %q is none", e.Spec.RefreshPolicy)
}

// values are what the Secret shall hold.
func (o Options) values(ctx context.Context, as identity, e *externalSecret, stores map[string]*store) (map[string][]byte, error) {
	ref := e.Spec.SecretStoreRef
	kind, namespace := cmp.Or(ref.Kind, "SecretStore"), e.Metadata.Namespace
	if kind == "ClusterSecretStore" {
		namespace = ""
	}
	s := stores[kind+"/"+namespace+"/"+ref.Name]
	if s == nil {
		return nil, fmt.Errorf("there is no %s %q", kind, ref.Name)
	}
	if err := s.wrong(); err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, ref.Name, err)
	}
	aws := s.Spec.Provider.AWS
	if jwt := aws.Auth.JWT; jwt != nil {
		as = identity{namespace: cmp.Or(s.Metadata.Namespace, jwt.ServiceAccountRef.Namespace, e.Metadata.Namespace), name: jwt.ServiceAccountRef.Name}
	}
	by, err := o.as(ctx, as)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for i, d := range e.Spec.DataFrom {
		if d.Extract == nil || d.Find != nil || d.Rewrite != nil || d.SourceRef != nil {
			return nil, account.NotModelled("spec.dataFrom[%d]: what isn't extract is not modelled by the sandbox", i)
		}
		all, err := o.remote(ctx, by, aws.Service, *d.Extract)
		if err != nil {
			return nil, fmt.Errorf("spec.dataFrom[%d]: key %s: %w", i, d.Extract.Key, err)
		}
		var parts map[string]any
		if json.Unmarshal(all, &parts) != nil { // its error would show what it holds
			return nil, fmt.Errorf("spec.dataFrom[%d]: key %s: holds no JSON object", i, d.Extract.Key)
		}
		for k, v := range parts {
			out[k] = plain(v)
		}
	}
	for i, d := range e.Spec.Data {
		if d.SourceRef != nil {
			return nil, account.NotModelled("spec.data[%d]: sourceRef is not modelled by the sandbox", i)
		}
		if out[d.SecretKey], err = o.remote(ctx, by, aws.Service, d.RemoteRef); err != nil {
			return nil, fmt.Errorf("spec.data[%d]: key %s: %w", i, d.RemoteRef.Key, err)
		}
	}
	return e.templated(out)
}

// remote reads a value of AWS, or a property of one that is a JSON object.
// https://external-secrets.io/latest/provider/aws-secrets-manager/
// https://external-secrets.io/latest/provider/aws-parameter-store/
func (o Options) remote(ctx context.Context, by wire.Credential, service string, r remote) (value []byte, err error) {
	if r.DecodingStrategy != "" && r.DecodingStrategy != "None" || r.MetadataPolicy != "" && r.MetadataPolicy != "None" {
		return nil, account.NotModelled("decodingStrategy and metadataPolicy are not modelled by the sandbox")
	}
	if service == "ParameterStore" {
		name := r.Key
		if r.Version != "" {
			name += ":" + r.Version
		}
		var out struct{ Parameter struct{ Value string } }
		if err := o.fetch(ctx, by, "ssm", "GetParameter", map[string]any{"Name": name, "WithDecryption": true}, &out); err != nil {
			return nil, err
		}
		value = []byte(out.Parameter.Value)
	} else {
		in := map[string]any{"SecretId": r.Key}
		if id, ok := strings.CutPrefix(r.Version, "uuid/"); ok {
			in["VersionId"] = id
		} else {
			in["VersionStage"] = cmp.Or(r.Version, "AWSCURRENT")
		}
		var out struct {
			SecretString *string
			SecretBinary []byte
		}
		if err := o.fetch(ctx, by, "secretsmanager", "GetSecretValue", in, &out); err != nil {
			return nil, err
		}
		if value = out.SecretBinary; out.SecretString != nil {
			value = []byte(*out.SecretString)
		}
	}
	if r.Property == "" {
		return value, nil
	}
	var at any
	if json.Unmarshal(value, &at) != nil { // its error would show what it holds
		return nil, errors.New("holds no JSON, and a property of it is asked for")
	}
	if whole, ok := at.(map[string]any); ok && whole[r.Property] != nil {
		return plain(whole[r.Property]), nil
	}
	for name := range strings.SplitSeq(r.Property, ".") {
		parent, _ := at.(map[string]any)
		if at = parent[name]; at == nil {
			return nil, fmt.Errorf("has no property %s", r.Property)
		}
	}
	return plain(at), nil
}

// plain is a string as it is, and all else as JSON.
func plain(v any) []byte {
	if s, ok := v.(string); ok {
		return []byte(s)
	}
	text, _ := json.Marshal(v) // it was read from JSON
	return text
}

// mostSecret is how many bytes a Secret holds.
// https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size
const mostSecret = 1 << 20

// templated is what the template makes of values. Functions are Go's own.
// https://external-secrets.io/latest/guides/templating/
func (e *externalSecret) templated(values map[string][]byte) (map[string][]byte, error) {
	t := e.Spec.Target.Template
	if t == nil || len(t.Data)+len(t.TemplateFrom) == 0 {
		return values, nil
	}
	if len(t.TemplateFrom) > 0 {
		return nil, account.NotModelled("template.templateFrom is not modelled by the sandbox")
	}
	texts := map[string]string{}
	for k, v := range values {
		texts[k] = string(v)
	}
	out := map[string][]byte{}
	if t.MergePolicy == "Merge" {
		out = maps.Clone(values)
	}
	most := mostSecret
	for _, k := range slices.Sorted(maps.Keys(t.Data)) {
		made, err := template.New(k).Option("missingkey=error").Parse(t.Data[k])
		if err != nil {
			return nil, account.NotModelled("template.data.%s: %v; functions beyond those of text/template are not modelled by the sandbox", k, err)
		}
		b := bounded{left: most}
		if err := made.Execute(&b, texts); err != nil {
			return nil, fmt.Errorf("template.data.%s: %w", k, err)
		}
		out[k], most = b.text, b.left
	}
	return out, nil
}

// bounded takes as much as is left, and no more.
type bounded struct {
	text []byte
	left int
}

var _ io.Writer = (*bounded)(nil)

// Write implements [io.Writer].
func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.left {
		return 0, fmt.Errorf("makes more than the %d bytes that a Secret holds", mostSecret)
	}
	b.text, b.left = append(b.text, p...), b.left-len(p)
	return len(p), nil
}

// kubeSecret is a Secret, as far as it is looked at. Data is in base64.
type kubeSecret struct {
	head
	Data map[string][]byte `json:"data"`
}

// hash names what the Secret holds.
func (s *kubeSecret) hash() string { return hashOf(s.Data) }

func hashOf(data map[string][]byte) string {
	text, _ := json.Marshal(data) // it always can be
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:28])
}

func (e *externalSecret) secretPath() string {
	return "/api/v1/namespaces/" + e.Metadata.Namespace + "/secrets"
}

// secretOf is the Secret of an ExternalSecret; nil if there is none.
func (o Options) secretOf(ctx context.Context, e *externalSecret) (*kubeSecret, error) {
	var s kubeSecret
	err := o.ask(ctx, http.MethodGet, e.secretPath()+"/"+e.secret(), "", nil, &s)
	if missing(err) {
		return nil, nil
	}
	return &s, err
}

// write makes a Secret, or changes the one that is there.
// https://external-secrets.io/latest/guides/ownership-deletion-policy/
func (o Options) write(ctx context.Context, e *externalSecret, have *kubeSecret, data map[string][]byte) error {
	m, target := e.Metadata, e.Spec.Target
	policy := cmp.Or(target.CreationPolicy, "Owner")
	switch {
	case policy == "None":
		return nil
	case policy == "Merge" && have == nil:
		return fmt.Errorf("there is no Secret %s to merge into", e.secret())
	case policy == "Merge":
		all := maps.Clone(have.Data)
		maps.Copy(all, data)
		data = all
	case policy != "Owner" && policy != "Orphan":
		return fmt.Errorf("creationPolicy %q is none", policy)
	}
	meta := map[string]any{"annotations": map[string]any{hashAnnotation: hashOf(data)}, "labels": map[string]any{managedLabel: "true"}}
	kind := "Opaque"
	if t := target.Template; t != nil {
		kind = cmp.Or(t.Type, kind)
		for key, values := range map[string]map[string]string{"labels": t.Metadata.Labels, "annotations": t.Metadata.Annotations} {
			for k, v := range values {
				meta[key].(map[string]any)[k] = v
			}
		}
	}
	if policy == "Owner" {
		owners := []owner{{secretsVersion, "ExternalSecret", m.Name, m.UID, true, true}}
		if have != nil {
			for _, w := range have.Metadata.OwnerReferences {
				if w.Controller && w.UID != m.UID {
					return fmt.Errorf("the Secret %s is owned by %s %s", e.secret(), w.Kind, w.Name)
				}
				if w.UID != m.UID {
					owners = append(owners, w)
				}
			}
		}
		meta["ownerReferences"] = owners
	}
	body := map[string]any{"metadata": meta}
	encoded := map[string]any{}
	for k, v := range data {
		encoded[k] = base64.StdEncoding.EncodeToString(v)
	}
	body["data"] = encoded
	if target.Immutable {
		body["immutable"] = true
	}
	if have == nil {
		body["apiVersion"], body["kind"], body["type"], meta["name"], meta["namespace"] = "v1", "Secret", kind, e.secret(), m.Namespace
		return o.ask(ctx, http.MethodPost, e.secretPath(), "application/json", body, nil)
	}
	for k := range have.Data {
		if _, ok := data[k]; !ok {
			encoded[k] = nil // a merge patch takes it away
		}
	}
	return o.patch(ctx, e.secretPath()+"/"+e.secret(), &have.head, body)
}
