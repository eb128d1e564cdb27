package eks

import (
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// typeIdentityProvider is an OpenID Connect provider whose tokens a cluster
// takes besides IAM's. A cluster has one at most.
// https://docs.aws.amazon.com/eks/latest/userguide/authenticate-oidc-identity-provider.html
const typeIdentityProvider = "eks:identity-provider-config"

func identityProviderType() *account.Type {
	return &account.Type{
		Name: typeIdentityProvider, Latency: "eks:idp",
		Row: func(*account.Resource, string) string { return "eks:idp/associate" },
		Create: func(tx *account.Tx, r *account.Resource) error {
			c, err := activeCluster(tx, props.Str(r.Props, "clusterName"))
			if err != nil {
				return err
			}
			if tx.Get(typeIdentityProvider, c.ID) != nil {
				return invalidRequest("The cluster %s has an identity provider config already", c.ID)
			}
			for _, k := range []string{"identityProviderConfigName", "issuerUrl", "clientId"} {
				if props.Str(r.Props, "oidc", k) == "" {
					return invalid("%s can't be empty", k)
				}
			}
			if !strings.HasPrefix(props.Str(r.Props, "oidc", "issuerUrl"), "https://") {
				return invalid("issuerUrl must begin with https://")
			}
			hex := tx.HexID(32)
			r.ID, r.Status = c.ID, "CREATING"
			r.Attrs = map[string]any{"Arn": tx.ARN("eks", strings.Join([]string{
				"identityproviderconfig", c.ID, "oidc", props.Str(r.Props, "oidc", "identityProviderConfigName"),
				hex[:8] + "-" + hex[8:12] + "-" + hex[12:16] + "-" + hex[16:20] + "-" + hex[20:],
			}, "/"))}
			r.Tags = props.Tags(r.Props, "tags")
			begin(tx, c, "AssociateIdentityProviderConfig")
			return nil
		},
		Settle: func(tx *account.Tx, r *account.Resource, _ string) error {
			r.Status = "ACTIVE"
			if c := tx.Get(TypeCluster, r.ID); c != nil {
				finish(c, nil)
			}
			return nil
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if r.Status != "ACTIVE" {
				return inUse("The identity provider config is in status %s", r.Status)
			}
			r.Status = "DELETING"
			if c := tx.Get(TypeCluster, r.ID); c != nil {
				begin(tx, c, "DisassociateIdentityProviderConfig")
			}
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			if c := tx.Get(TypeCluster, r.ID); c != nil {
				finish(c, nil)
			}
		},
	}
}

func associateIdentityProvider(tx *account.Tx, r *wire.Request) (any, error) {
	p := map[string]any{"clusterName": r.String("name"), "oidc": r.In["oidc"], "tags": props.Pairs(r.Tags("tags"))}
	x, _, err := tx.Create(typeIdentityProvider, p, r.Caller, true)
	if err != nil {
		return nil, err
	}
	return map[string]any{"update": lastUpdate(tx, x.ID), "tags": x.Tags}, nil
}

// lastUpdate is the update that began last on a cluster.
func lastUpdate(tx *account.Tx, name string) any {
	if c := tx.Get(TypeCluster, name); c != nil {
		if updates := props.Maps(c.Data, "updates"); len(updates) > 0 {
			return updates[len(updates)-1]
		}
	}
	return map[string]any{}
}

func listIdentityProviders(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	var list []any
	if x := tx.Get(typeIdentityProvider, c.ID); x != nil {
		list = append(list, map[string]any{"type": "oidc", "name": props.Str(x.Props, "oidc", "identityProviderConfigName")})
	}
	return page(r, "identityProviderConfigs", list)
}

// identityProvider finds the one that a request names.
func identityProvider(tx *account.Tx, r *wire.Request) (*account.Resource, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	name := props.Str(r.In, "identityProviderConfig", "name")
	if x := tx.Get(typeIdentityProvider, c.ID); x != nil && props.Str(x.Props, "oidc", "identityProviderConfigName") == name {
		return x, nil
	}
	return nil, notFound("Identity provider config %s not found for cluster %s", name, c.ID)
}

func describeIdentityProvider(tx *account.Tx, r *wire.Request) (any, error) {
	x, err := identityProvider(tx, r)
	if err != nil {
		return nil, err
	}
	oidc, _ := account.Copy(props.Map(x.Props, "oidc")).(map[string]any)
	oidc["identityProviderConfigArn"], oidc["clusterName"], oidc["status"], oidc["tags"] = x.Attrs["Arn"], x.ID, x.Status, x.Tags
	return map[string]any{"identityProviderConfig": map[string]any{"oidc": oidc}}, nil
}

func disassociateIdentityProvider(tx *account.Tx, r *wire.Request) (any, error) {
	x, err := identityProvider(tx, r)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Delete(x, true); err != nil {
		return nil, err
	}
	return map[string]any{"update": lastUpdate(tx, x.ID)}, nil
}
