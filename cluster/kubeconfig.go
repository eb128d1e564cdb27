package cluster

import (
	"encoding/base64"
	"fmt"

	"github.com/goccy/go-yaml"
)

// KubeconfigOptions say what a client of the Kubernetes API is told.
type KubeconfigOptions struct {
	// Name of the cluster, of the user and of the context.
	Name string
	// Server is the URL, and ServerName the name that its certificate is for, if
	// it isn't the URL's.
	Server, ServerName string
	// Authority, as PEM, vouches for the certificate.
	Authority []byte
	// Proxy is the URL of a proxy to the server, or "".
	Proxy string
	// Command prints an ExecCredential with a token.
	Command []string
	// Environment are variables that the command needs besides its caller's, as
	// pairs.
	Environment [][2]string
}

// Kubeconfig is a configuration for kubectl and other clients, with one context. It
// holds no secret: the command fetches a token whenever one is needed.
// https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
func Kubeconfig(o KubeconfigOptions) ([]byte, error) {
	if len(o.Command) == 0 {
		return nil, fmt.Errorf("make a kubeconfig for %s: no command makes tokens", o.Name)
	}
	server := yaml.MapSlice{{Key: "server", Value: o.Server}}
	if o.ServerName != "" {
		server = append(server, yaml.MapItem{Key: "tls-server-name", Value: o.ServerName})
	}
	if o.Proxy != "" {
		server = append(server, yaml.MapItem{Key: "proxy-url", Value: o.Proxy})
	}
	server = append(server, yaml.MapItem{Key: "certificate-authority-data", Value: base64.StdEncoding.EncodeToString(o.Authority)})
	exec := yaml.MapSlice{
		{Key: "apiVersion", Value: "client.authentication.k8s.io/v1"},
		{Key: "command", Value: o.Command[0]},
		{Key: "args", Value: o.Command[1:]},
	}
	if len(o.Environment) > 0 {
		var list []yaml.MapSlice
		for _, v := range o.Environment {
			list = append(list, yaml.MapSlice{{Key: "name", Value: v[0]}, {Key: "value", Value: v[1]}})
		}
		exec = append(exec, yaml.MapItem{Key: "env", Value: list})
	}
	exec = append(exec, yaml.MapItem{Key: "interactiveMode", Value: "Never"}, yaml.MapItem{Key: "provideClusterInfo", Value: false})
	named := func(key string, value any) []yaml.MapSlice {
		return []yaml.MapSlice{{{Key: "name", Value: o.Name}, {Key: key, Value: value}}}
	}
	return yaml.Marshal(yaml.MapSlice{
		{Key: "apiVersion", Value: "v1"},
		{Key: "kind", Value: "Config"},
		{Key: "clusters", Value: named("cluster", server)},
		{Key: "users", Value: named("user", yaml.MapSlice{{Key: "exec", Value: exec}})},
		{Key: "contexts", Value: named("context", yaml.MapSlice{{Key: "cluster", Value: o.Name}, {Key: "user", Value: o.Name}})},
		{Key: "current-context", Value: o.Name},
	})
}

// KubeconfigOf tells that a text is a kubeconfig with one cluster, one user and one
// context, all of this name, as [Kubeconfig] makes them.
func KubeconfigOf(text []byte, name string) bool {
	type named struct {
		Name string `yaml:"name"`
	}
	var k struct {
		Kind     string  `yaml:"kind"`
		Clusters []named `yaml:"clusters"`
		Users    []named `yaml:"users"`
		Contexts []named `yaml:"contexts"`
	}
	if err := yaml.Unmarshal(text, &k); err != nil || k.Kind != "Config" {
		return false
	}
	for _, list := range [][]named{k.Clusters, k.Users, k.Contexts} {
		if len(list) != 1 || list[0].Name != name {
			return false
		}
	}
	return true
}
