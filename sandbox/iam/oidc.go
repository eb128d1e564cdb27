package iam

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

var thumbprint = regexp.MustCompile(`^[0-9A-Fa-f]{40}$`)

func oidcProviderType() *account.Type {
	return &account.Type{
		Name: TypeOIDCProvider, Latency: "iam:oidc-provider",
		Create: func(tx *account.Tx, r *account.Resource) error {
			raw := props.Str(r.Props, "Url")
			u, err := url.Parse(raw)
			if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || len(raw) > 255 {
				return errorf("ValidationError", "Invalid Open ID Connect Provider URL")
			}
			if err := checkProvider(r.Props); err != nil {
				return err
			}
			r.ID = tx.GlobalARN("iam", "oidc-provider/"+strings.TrimSuffix(strings.TrimPrefix(raw, "https://"), "/"))
			if tx.Get(TypeOIDCProvider, r.ID) != nil {
				return errorf("EntityAlreadyExists", "Provider with url %s already exists.", raw)
			}
			r.Attrs["Arn"] = r.ID
			r.Tags = props.Tags(r.Props, "Tags")
			return nil
		},
		Update: func(_ *account.Tx, r *account.Resource, next map[string]any) error {
			if err := checkProvider(next); err != nil {
				return err
			}
			r.Retag(next, "Tags")
			return nil
		},
	}
}

func checkProvider(p map[string]any) error {
	for _, t := range props.Strs(p, "ThumbprintList") {
		if !thumbprint.MatchString(t) {
			return errorf("ValidationError", "Invalid thumbprint: %s", t)
		}
	}
	if len(props.Strs(p, "ThumbprintList")) > 5 {
		return errorf("LimitExceeded", "Cannot exceed quota for ThumbprintsPerOpenIdConnectProvider: 5")
	}
	ids := props.Strs(p, "ClientIdList")
	if len(ids) > 100 {
		return errorf("LimitExceeded", "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100")
	}
	for _, id := range ids {
		if id == "" || len(id) > 255 {
			return errorf("ValidationError", "1 validation error detected: Value '%s' at 'clientIDList' failed to satisfy constraint: Member must have length between 1 and 255", id)
		}
	}
	return checkTags(userTags(props.Tags(p, "Tags")))
}
