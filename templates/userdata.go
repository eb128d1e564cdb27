package templates

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
)

// parameterText is how much of a text stands in one parameter: a value has 4,096
// characters at most.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const parameterText = 4000

// userData is a script for launch templates, once for all of them: it stands in
// the defaults of as many parameters as it needs. It is absent without a script.
func userData(t *cfn.Template, name, script string) cfn.Value[string] {
	if script == "" {
		return cfn.Value[string]{}
	}
	var parts []cfn.Value[string]
	for rest := base64.StdEncoding.EncodeToString([]byte(script)); rest != ""; {
		n := min(len(rest), parameterText)
		parts = append(parts, t.Parameter(name+number(len(parts)), cfn.Parameter{Default: cfn.V(rest[:n])}).Ref())
		rest = rest[n:]
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return cfn.Join("", parts...)
}

// nodeData is the user data of nodes: what the proxy and the private
// authorities need, or "" without them. EKS merges its own part in after it,
// and needs MIME for that. The script runs before nodeadm starts containerd and
// the kubelet; what nodeadm itself asks before, it reaches by endpoint or NAT.
// https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html
func nodeData(a *architecture.Architecture) string {
	var b strings.Builder
	if bundle := a.Config.Trust.Bundle(); bundle != "" {
		fmt.Fprintf(&b, `cat >/etc/pki/ca-trust/source/anchors/poolhouse.pem <<'E'
%sE
update-ca-trust
`, bundle)
	}
	if url := a.Config.Proxy.URL; url != "" {
		// https://docs.aws.amazon.com/eks/latest/userguide/hybrid-nodes-proxy.html
		fmt.Fprintf(&b, `proxy='%s'
no='%s'
for n in HTTP_PROXY HTTPS_PROXY http_proxy https_proxy; do echo "$n=$proxy"; done >/etc/proxy.env
for n in NO_PROXY no_proxy; do echo "$n=$no"; done >>/etc/proxy.env
cat /etc/proxy.env >>/etc/environment
for s in containerd kubelet amazon-ssm-agent; do
 mkdir -p /etc/systemd/system/$s.service.d
 printf '[Service]\nEnvironmentFile=/etc/proxy.env\n' >/etc/systemd/system/$s.service.d/proxy.conf
done
systemctl daemon-reload
systemctl try-restart amazon-ssm-agent
`, url, strings.Join(a.NoProxy(), ","))
	}
	if b.Len() == 0 {
		return ""
	}
	return `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="//"

--//
Content-Type: text/x-shellscript; charset="us-ascii"

#!/bin/bash -eu
` + b.String() + `
--//--
`
}
