package drift

import "testing"

func TestAbout(t *testing.T) {
	t.Parallel()
	const eks = "arn:aws:eks:us-east-1:123456789012:"
	for name, tc := range map[string]struct {
		resource, id string
		want         bool
	}{
		"itself":                     {"sg-1", "sg-1", true},
		"after its kind":             {"key 0a-1", "0a-1", true},
		"bucket":                     {"arn:aws:s3:::models", "models", true},
		"nothing":                    {"arn:aws:s3:::", "", false},
		"the end of another's name":  {"arn:aws:s3:::my-models", "models", false},
		"cluster":                    {eks + "cluster/pool", "pool", true},
		"node group":                 {eks + "nodegroup/pool/core/0a-1", "pool/core", true},
		"node group elsewhere":       {eks + "nodegroup/pool/gpu/0a-1", "pool/core", false},
		"node group of another":      {eks + "nodegroup/loop/core/0a-1", "pool/core", false},
		"a name that begins alike":   {eks + "nodegroup/pool/core-2/0a-1", "pool/core", false},
		"add-on":                     {eks + "addon/pool/coredns/0a-1", "pool|coredns", true},
		"add-on named as nodes are":  {eks + "addon/pool/core/0a-1", "pool/core", false},
		"association":                {eks + "podidentityassociation/pool/a-1", "pool|a-1", true},
		"another service":            {"arn:aws:ecs:us-east-1:123456789012:nodegroup/pool/core/1", "pool/core", false},
		"cluster of the same prefix": {eks + "nodegroup/pool/core/0a-1", "pool", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := about(tc.resource, tc.id); got != tc.want {
				t.Errorf("about(%q, %q) is %v", tc.resource, tc.id, got)
			}
		})
	}
}
