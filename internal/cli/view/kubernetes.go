package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
)

// Kubernetes prints how the Kubernetes API is expected to be reached; nothing if
// that isn't known.
func Kubernetes(w io.Writer, k architecture.KubernetesAccess) {
	if len(k.Ways) == 0 {
		return
	}
	endpoint := "private endpoint only"
	switch {
	case len(k.PublicCIDRs) > 0:
		endpoint = "public endpoint for " + strings.Join(k.PublicCIDRs, ", ")
	case len(k.AllowCIDRs) > 0:
		endpoint += ", open to " + strings.Join(k.AllowCIDRs, ", ")
	}
	var ways []string
	for _, way := range k.Ways {
		switch {
		case way == architecture.WayProxy:
			ways = append(ways, "proxy "+k.Proxy)
		case way == architecture.WaySession && k.SessionHost:
			ways = append(ways, "session by the session host")
		case way == architecture.WaySession:
			ways = append(ways, "session by a core node")
		default:
			ways = append(ways, string(way))
		}
	}
	end := ""
	if !k.Outside {
		end = " Where none of these works, create and update end with exit code 3 when the AWS side is complete, and say how to go on from inside the VPC."
	}
	paragraph(w, "Kubernetes API: ", "  ", "%s; will be tried: %s.%s", endpoint, strings.Join(ways, ", "), end)
}

// kubernetesStatus prints how the Kubernetes API is reached, or why it isn't.
func kubernetesStatus(w io.Writer, k *deploy.KubernetesStatus) {
	if k == nil {
		return
	}
	if k.Way == "" {
		fmt.Fprintf(w, "Kubernetes API at %s: no route from here\n", k.Endpoint)
	} else {
		version := ""
		if k.Version != "" {
			version = ", version " + k.Version
		}
		fmt.Fprintf(w, "Kubernetes API at %s: %s%s\n", k.Endpoint, strings.TrimSpace(string(k.Way)+" "+k.Via), version)
	}
	for _, a := range k.Attempts {
		if a.Error != "" {
			paragraph(w, "  "+a.String()+": ", "    ", "%s", a.Error)
		}
	}
	for _, r := range k.Releases {
		fmt.Fprintf(w, "  release %s\n", safe(fmt.Sprintf("%s in %s: %s, revision %s", r.Name, r.Namespace, r.Status, r.Revision)))
	}
	if k.ReleasesUnknown != "" {
		paragraph(w, "  releases can't be looked at: ", "    ", "%s", safe(k.ReleasesUnknown))
	}
}
