package rehearse

import (
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/acm"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/rds"
	"github.com/poolhouse/poolhouse/sandbox/route53"
	"github.com/poolhouse/poolhouse/sandbox/secretsmanager"
)

// Item is something that a configuration presupposes in the account.
type Item struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	// Path is where the configuration names it.
	Path string `json:"path"`
}

// Given puts into a sandbox what a configuration presupposes: what it names
// and does not make. What is there already stays as it is. Resources of other
// accounts can't be made and are left out.
func Given(box *sandbox.Sandbox, a *architecture.Architecture) ([]Item, error) {
	g := &giver{a: a, c: a.Config}
	err := box.Account().Do(func(tx *account.Tx) error {
		g.tx = tx
		return g.all()
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the sandbox: %w", err)
	}
	return g.items, nil
}

type giver struct {
	tx    *account.Tx
	a     *architecture.Architecture
	c     *config.Config
	items []Item
}

func (g *giver) all() error {
	c := g.c
	steps := []func() error{
		func() error { return g.policy("permissionBoundary", c.PermissionBoundary) },
		func() error {
			return g.principal("serviceRole", c.ServiceRole, map[string]any{"Service": "cloudformation.amazonaws.com"})
		},
		g.administrators,
		g.network,
		g.secrets,
		g.certificate,
		g.zone,
		g.reservations,
		g.snapshot,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// own cuts the resource part out of an ARN of this account; "" if it isn't one.
func (g *giver) own(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[4] != g.tx.AccountID() {
		return ""
	}
	return parts[5]
}

func (g *giver) note(typ, id, path string) { g.items = append(g.items, Item{typ, id, path}) }

// make creates a resource that the customer made before, under the id that the
// configuration names, unless it is there.
func (g *giver) make(path, typ, id string, props map[string]any) error {
	if g.tx.Get(typ, id) != nil {
		return nil
	}
	r, _, err := g.tx.Create(typ, props, "customer", false)
	if err == nil {
		err = g.tx.Settle(r, "create")
	}
	if err == nil && typ == secretsmanager.TypeSecret {
		err = secretsmanager.Bind(g.tx, r, id)
	}
	if err != nil {
		return fmt.Errorf("make %s %s: %w", typ, id, err)
	}
	if typ == ec2.TypeVPC {
		follow(g.tx, r.ID, id)
	}
	rename(g.tx, r, id)
	g.note(typ, id, path)
	return nil
}

// rename gives a resource another id, in what it says of itself too.
func rename(tx *account.Tx, r *account.Resource, id string) {
	if r.ID == id {
		return
	}
	old := r.ID
	tx.Drop(r.Type, old)
	r.ID = id
	r.Attrs, _ = replace(r.Attrs, old, id).(map[string]any)
	r.Data, _ = replace(r.Data, old, id).(map[string]any)
	tx.Put(r)
}

// replace copies a JSON-like value with a text in it replaced.
func replace(v any, old, with string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, old, with)
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = replace(x, old, with)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = replace(x, old, with)
		}
		return l
	}
	return v
}

// split cuts a path-like name into path and name, as IAM has them.
func split(resource, kind string) (path, name string, ok bool) {
	rest, ok := strings.CutPrefix(resource, kind+"/")
	i := strings.LastIndexByte(rest, '/')
	return "/" + rest[:i+1], rest[i+1:], ok
}

func document(effect map[string]any) map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": []any{effect}}
}

func (g *giver) policy(at, arn string) error {
	path, name, ok := split(g.own(arn), "policy")
	if !ok {
		return nil
	}
	return g.make(at, iam.TypeManagedPolicy, arn, map[string]any{
		"ManagedPolicyName": name, "Path": path,
		"PolicyDocument": document(map[string]any{"Effect": "Allow", "Action": "*", "Resource": "*"}),
	})
}

// principal makes a role that somebody may assume, or a user.
func (g *giver) principal(at, arn string, who map[string]any) error {
	resource := g.own(arn)
	if path, name, ok := split(resource, "role"); ok {
		if g.tx.Get(iam.TypeRole, name) != nil {
			return nil
		}
		return g.make(at, iam.TypeRole, name, map[string]any{
			"RoleName": name, "Path": path,
			"AssumeRolePolicyDocument": document(map[string]any{"Effect": "Allow", "Principal": who, "Action": "sts:AssumeRole"}),
			"ManagedPolicyArns":        []any{"arn:" + g.tx.Partition() + ":iam::aws:policy/AdministratorAccess"},
		})
	}
	if _, name, ok := split(resource, "user"); ok && g.tx.Get(iam.TypeUser, name) == nil {
		iam.SeedUser(g.tx, arn)
		g.note(iam.TypeUser, name, at)
	}
	return nil
}

func (g *giver) administrators() error {
	for _, arn := range g.c.Cluster.Administrators {
		who := map[string]any{"AWS": g.tx.GlobalARN("iam", "root")}
		if err := g.principal("cluster.administrators", arn, who); err != nil {
			return err
		}
	}
	return nil
}

func (g *giver) secrets() error {
	sso := g.c.Access.SSO
	for _, s := range []struct{ path, arn string }{
		{"access.sso.web.secretArn", sso.Web.SecretARN},
		{"access.sso.admin.secretArn", sso.Admin.SecretARN},
	} {
		name, ok := strings.CutPrefix(g.own(s.arn), "secret:")
		if !ok || !sso.Enabled {
			continue
		}
		// The name is followed by a hyphen and six characters of AWS's choice.
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		if err := g.make(s.path, secretsmanager.TypeSecret, s.arn, map[string]any{
			"Name": name, "SecretString": `{"client_secret":"rehearsal"}`,
		}); err != nil {
			return err
		}
	}
	return nil
}

// reservations makes capacity reservations with room for all GPU nodes.
func (g *giver) reservations() error {
	for i := range g.c.Compute {
		group := &g.c.Compute[i]
		res := group.Reservation
		if res.ID == "" || g.tx.Get(instance.TypeCapacityReservation, res.ID) != nil {
			continue
		}
		r, err := instance.Reserve(g.tx, instance.Reservation{
			InstanceType: group.InstanceTypes[0], Zone: res.ZoneID, Count: max(group.Max, 1), Block: res.CapacityBlock, Match: "targeted", Owner: "customer",
		})
		if err != nil {
			return fmt.Errorf("make capacity reservation %s: %w", res.ID, err)
		}
		rename(g.tx, r, res.ID)
		g.note(r.Type, r.ID, "compute["+string(group.Role)+"].reservation.id")
	}
	return nil
}

// hosts are the names that the load balancers answer to.
func hosts(c *config.Config) []string {
	return []string{c.Access.Web.Host, c.Access.API.Host, c.Access.Admin.Host}
}

// domain is the longest domain that all hosts are in.
func domain(hosts []string) string {
	common := strings.Split(hosts[0], ".")
	for _, h := range hosts[1:] {
		labels := strings.Split(h, ".")
		n := 0
		for n < min(len(common), len(labels)) && common[len(common)-1-n] == labels[len(labels)-1-n] {
			n++
		}
		common = common[len(common)-n:]
	}
	return strings.Join(common, ".")
}

func (g *giver) zone() error {
	if g.c.DNS.Mode != config.DNSExistingZone {
		return nil
	}
	return g.make("dns.zoneId", route53.TypeHostedZone, g.c.DNS.ZoneID, map[string]any{"Name": domain(hosts(g.c))})
}

func (g *giver) certificate() error {
	arn := g.c.Certificate.ARN
	if g.own(arn) == "" {
		return nil
	}
	if g.tx.Get(acm.TypeCertificate, arn) != nil {
		return nil
	}
	names := hosts(g.c)
	rename(g.tx, acm.Issued(g.tx, names[0], names[1:]...), arn)
	g.note(acm.TypeCertificate, arn, "certificate.arn")
	return nil
}

// snapshot makes a database snapshot that fits the configuration, and the key
// that it is encrypted with.
func (g *giver) snapshot() error {
	d := g.c.Database
	_, id, isARN := strings.Cut(d.Snapshot, ":snapshot:")
	if !isARN {
		id = d.Snapshot
	}
	if id == "" || isARN && g.own(d.Snapshot) == "" || g.tx.Get(rds.TypeSnapshot, id) != nil {
		return nil
	}
	key, _, err := g.tx.Create("AWS::KMS::Key", map[string]any{
		"KeyPolicy": document(map[string]any{"Effect": "Allow", "Principal": map[string]any{"AWS": g.tx.GlobalARN("iam", "root")}, "Action": "kms:*", "Resource": "*"}),
	}, "customer", false)
	if err == nil {
		err = g.tx.Settle(key, "create")
	}
	if err != nil {
		return fmt.Errorf("make the key of snapshot %s: %w", id, err)
	}
	rds.SeedSnapshot(g.tx, id, d.Version, "poolside", d.StorageGiB, fmt.Sprint(key.Attrs["Arn"]))
	g.note(rds.TypeSnapshot, id, "database.snapshot")
	return nil
}
