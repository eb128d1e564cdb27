package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/http"
	"time"

	registration "k8s.io/api/admissionregistration/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/poolhouse/poolhouse/planes/kubernetes/identity"
)

// identityWebhook is what EKS calls its own.
const identityWebhook = "pod-identity-webhook"

// identify has pods be given the roles of their service accounts, until the
// context ends.
func (c Config) identify(ctx context.Context, client kubernetes.Interface, a *authority) error {
	if c.Pods == nil {
		return nil
	}
	cert, key, err := a.issue(pkix.Name{CommonName: identityWebhook}, nil, []net.IP{net.IPv4(127, 0, 0, 1)}, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	hook := identity.Webhook{Region: c.Pods.Region, Account: func(ctx context.Context, namespace, name string) (*core.ServiceAccount, error) {
		account, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, meta.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return account, err
	}}
	mux := http.NewServeMux()
	mux.Handle("POST /mutate", hook)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}
	context.AfterFunc(ctx, func() {
		_ = s.Close() // the API ends as well
	})
	go func() { _ = s.ServeTLS(l, "", "") }() // it ends with the context
	if err := register(ctx, client, "https://"+l.Addr().String()+"/mutate", a.text); err != nil {
		return fmt.Errorf("register %s: %w", identityWebhook, err)
	}
	return nil
}

// register has the API ask the webhook at a URL.
func register(ctx context.Context, client kubernetes.Interface, url, authority string) error {
	none, ignore, again, within := registration.SideEffectClassNone, registration.Ignore, registration.IfNeededReinvocationPolicy, int32(10)
	want := &registration.MutatingWebhookConfiguration{ObjectMeta: meta.ObjectMeta{Name: identityWebhook}, Webhooks: []registration.MutatingWebhook{{
		Name: "iam-for-pods.amazonaws.com", ClientConfig: registration.WebhookClientConfig{URL: &url, CABundle: []byte(authority)},
		SideEffects: &none, FailurePolicy: &ignore, ReinvocationPolicy: &again, TimeoutSeconds: &within, AdmissionReviewVersions: []string{"v1"},
		Rules: []registration.RuleWithOperations{{Operations: []registration.OperationType{registration.Create}, Rule: registration.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}}},
	}}}
	hooks := client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	have, err := hooks.Get(ctx, identityWebhook, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = hooks.Create(ctx, want, meta.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	// Of a former process, whose port and key are others.
	want.ResourceVersion = have.ResourceVersion
	_, err = hooks.Update(ctx, want, meta.UpdateOptions{})
	return err
}
