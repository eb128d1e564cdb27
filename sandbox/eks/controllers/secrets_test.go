package controllers_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/kubernetes"
)

const (
	database = "/apis/external-secrets.io/v1/namespaces/shop/externalsecrets/database"
	cluster  = "/apis/external-secrets.io/v1/clustersecretstores/aws"
	local    = "/apis/external-secrets.io/v1/namespaces/shop/secretstores/aws"
	secretAt = "/api/v1/namespaces/shop/secrets/database"
	aws      = `{"spec": {"provider": {"aws": {"service": "SecretsManager", "region": "us-east-1"}}}}`
	asked    = `{"metadata": {"generation": 1}, "spec": {"refreshInterval": "1h", "secretStoreRef": {"kind": "ClusterSecretStore", "name": "aws"},
		"target": {"name": "database"}, "data": [{"secretKey": "PASSWORD", "remoteRef": {"key": "app/database", "property": "password"}}]}}`
)

// said is the Ready condition of an object: its reason and message.
func (w *world) said(path string) (reason, message string) {
	w.t.Helper()
	status, _ := w.api.Get(path)["status"].(kubernetes.Object)
	list, _ := status["conditions"].([]any)
	if len(list) != 1 {
		w.t.Fatalf("%s has the conditions %v", path, list)
	}
	c, _ := list[0].(kubernetes.Object)
	if (c["status"] == "True") != (c["reason"] == "SecretSynced" || c["reason"] == "Valid") || c["type"] != "Ready" || c["lastTransitionTime"] == "" {
		w.t.Errorf("%s says %v", path, c)
	}
	reason, _ = c["reason"].(string)
	message, _ = c["message"].(string)
	return reason, message
}

// holds are the keys and values of a Secret.
func (w *world) holds(path string) map[string]string {
	w.t.Helper()
	data, _ := w.api.Get(path)["data"].(kubernetes.Object)
	out := map[string]string{}
	for k, v := range data {
		text, _ := v.(string)
		plain, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			w.t.Errorf("%s of %s: %v", k, path, err)
		}
		out[k] = string(plain)
	}
	return out
}

// change patches an object, as another client does.
func (w *world) change(path, patch string) {
	w.t.Helper()
	req := del(w.t, path)
	req.Method, req.Body = http.MethodPatch, io.NopCloser(strings.NewReader(patch))
	resp, err := testkit.Transport{Handler: w.api}.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("change %s: %s %v", path, resp.Status, err)
	}
}

func (w *world) have(when string, want map[string]string) {
	w.t.Helper()
	if d := cmp.Diff(want, w.holds(secretAt)); d != "" {
		w.t.Errorf("%s: %s", when, d)
	}
}

const readSecrets = `[{"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue", "ssm:GetParameter"], "Resource": ["arn:aws:secretsmanager:*:*:secret:app/*", "arn:aws:ssm:*:*:parameter/app/*"]}]`

// A Secret holds what the role of the store's account may read, is refreshed when its
// time has come or it was changed, belongs to its ExternalSecret, and stays as it is
// while the operator isn't there.
//
// https://external-secrets.io/latest/api/externalsecret/
func TestExternalSecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]string{"external-secrets": readSecrets, "aws-load-balancer-controller": mayNot})
		secret := testkit.MustCreate(t, w.box, "AWS::SecretsManager::Secret", obj{"Name": "app/database", "SecretString": `{"username": "app", "password": "first", "port": 5432}`})
		w.api.Put(cluster, aws)
		w.api.Put(database, asked)
		w.looks()
		w.have("at first", map[string]string{"PASSWORD": "first"})
		if reason, message := w.said(database); reason != "SecretSynced" || message != "secret synced" {
			t.Errorf("%s: %s", reason, message)
		}
		if reason, _ := w.said(cluster); reason != "Valid" {
			t.Errorf("the store is %s", reason)
		}
		set := func(value string) {
			t.Helper()
			if err := testkit.Update(w.box, "AWS::SecretsManager::Secret", secret.ID, obj{"Name": "app/database", "SecretString": value}); err != nil {
				t.Fatal(err)
			}
		}
		set(`{"username": "app", "password": "second", "port": 5432}`)
		time.Sleep(59 * time.Minute)
		w.looks()
		w.have("within the interval", map[string]string{"PASSWORD": "first"})
		time.Sleep(time.Minute)
		w.looks()
		w.have("after the interval", map[string]string{"PASSWORD": "second"})

		// Who writes into it is written over; a key that isn't asked for goes.
		m, _ := w.api.Get(secretAt)["metadata"].(kubernetes.Object)
		owners, _ := m["ownerReferences"].([]any)
		if len(owners) != 1 {
			t.Fatalf("owners %v", owners)
		}
		w.change(secretAt, `{"data": {"PASSWORD": "eA==", "OTHER": "eA=="}}`)
		w.looks()
		w.have("changed by hand", map[string]string{"PASSWORD": "second"})

		// Another specification is followed at once, with all of a secret and a template.
		status := w.api.Get(database)["status"]
		w.change(database, `{"metadata": {"generation": 2}, "spec": {"dataFrom": [{"extract": {"key": "app/database"}}], "target": {"template": {"data": {"URL": "postgres://{{ .username }}@db:{{ .port }}/app"}}}}}`)
		w.looks()
		w.have("by a template", map[string]string{"URL": "postgres://app@db:5432/app"})
		if d := cmp.Diff(status, w.api.Get(database)["status"]); d == "" {
			t.Error("the status is that of before")
		}

		w.delete(operator)
		set(`{"username": "new", "password": "third", "port": 1}`)
		time.Sleep(3 * time.Hour)
		w.looks()
		w.have("nobody refreshes it", map[string]string{"URL": "postgres://app@db:5432/app"})
		w.delete(secretAt)
		w.looks()
		if w.api.Get(secretAt) != nil {
			t.Error("it was made without an operator")
		}
	})
}

// The account of a store decides what can be read, and a store that can't be used or a
// secret that can't be read is said, with the reason and without what it holds.
func TestExternalSecretErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]string{"external-secrets": readSecrets, "aws-load-balancer-controller": mayNot})
		testkit.MustCreate(t, w.box, "AWS::SecretsManager::Secret", obj{"Name": "app/database", "SecretString": `{"password": "hush"}`})
		testkit.MustCreate(t, w.box, "AWS::SecretsManager::Secret", obj{"Name": "app/word", "SecretString": "hush"})
		testkit.MustCreate(t, w.box, "AWS::SecretsManager::Secret", obj{"Name": "other", "SecretString": "hush"})
		testkit.MustCreate(t, w.box, "AWS::SSM::Parameter", obj{"Name": "/app/flag", "Type": "String", "Value": "on"})
		w.account("shop", "shop", `[{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "arn:aws:secretsmanager:*:*:secret:other-*"}]`)
		time.Sleep(time.Minute)
		w.api.Put(cluster, aws)
		store := func(provider string) string {
			return strings.Replace(aws, `"SecretsManager"`, `"SecretsManager"`+provider, 1)
		}
		ask := func(store, data string) string {
			return `{"spec": {"secretStoreRef": {` + store + `}, "target": {"name": "database"}, ` + data + `}}`
		}
		const all, own = `"kind": "ClusterSecretStore", "name": "aws"`, `"name": "aws"`
		key := func(name string) string { return `"data": [{"secretKey": "A", "remoteRef": {"key": "` + name + `"}}]` }
		jwt := store(`, "auth": {"jwt": {"serviceAccountRef": {"name": "shop"}}}`)
		for _, tt := range []struct{ name, store, asked, want string }{
			{"not the role's", aws, ask(all, key("other")), "is not authorized to perform: secretsmanager:GetSecretValue"},
			{"not the account's", jwt, ask(own, key("app/word")), "assumed-role/shop/shop is not authorized to perform: secretsmanager:GetSecretValue"},
			{"not there", aws, ask(all, key("app/none")), "ecretsmanager:GetSecretValue"},
			{"no store", aws, ask(`"name": "none"`, key("app/word")), `there is no SecretStore "none"`},
			{"no account", store(`, "auth": {"jwt": {"serviceAccountRef": {"name": "nobody"}}}`), ask(own, key("app/word")), "act as service account shop/nobody"},
			{"no property", aws, ask(all, `"data": [{"secretKey": "A", "remoteRef": {"key": "app/database", "property": "user"}}]`), "has no property user"},
			{"no object", aws, ask(all, `"dataFrom": [{"extract": {"key": "app/word"}}]`), "holds no JSON object"},
			{"not modelled", aws, ask(all, `"dataFrom": [{"find": {"name": {"regexp": ".*"}}}]`), "NotModelled"},
			{"a store that isn't modelled", store(`, "role": "arn:aws:iam::123456789012:role/x"`), ask(own, key("app/word")), "roles that stores assume are not modelled"},
			{"more than fits", aws, strings.Replace(ask(all, key("app/word")), `"target": {`, `"target": {"template": {"data": {"A": "{{ printf \"%600000d\" 1 }}", "B": "{{ printf \"%600000d\" 1 }}"}}, `, 1), "makes more than the 1048576 bytes that a Secret holds"},
			{"no duration", aws, strings.Replace(ask(all, key("app/word")), `"target"`, `"refreshInterval": "soon", "target"`, 1), `refreshInterval "soon" is no duration`},
		} {
			w.api.Put(local, tt.store)
			w.api.Put(database, tt.asked)
			w.looks()
			reason, message := w.said(database)
			if reason != "SecretSyncedError" || !strings.Contains(message, tt.want) || strings.Contains(message, "hush") {
				t.Errorf("%s: %s: %s; want %s", tt.name, reason, message, tt.want)
			}
			if w.api.Get(secretAt) != nil {
				t.Fatalf("%s: there is a Secret", tt.name)
			}
		}
		if reason, message := w.said(local); reason != "Valid" {
			t.Errorf("%s: %s", reason, message)
		}
		// What can be read is, by each account.
		w.api.Put(local, jwt)
		w.api.Put(database, ask(own, key("other")))
		w.looks()
		w.have("by the account of the store", map[string]string{"A": "hush"})
		w.delete(secretAt)
		w.api.Put(local, strings.Replace(aws, "SecretsManager", "ParameterStore", 1))
		w.api.Put(database, ask(own, key("/app/flag")))
		w.looks()
		w.have("of Parameter Store", map[string]string{"A": "on"})
		// One that is another's is not taken.
		w.api.Put(secretAt, `{"metadata": {"ownerReferences": [{"kind": "ExternalSecret", "name": "first", "uid": "1", "controller": true}]}, "data": {}}`)
		w.api.Put(database, ask(own, key("/app/flag")))
		w.looks()
		if _, message := w.said(database); message != "could not update secret: the Secret database is owned by ExternalSecret first" {
			t.Error(message)
		}
	})
}
