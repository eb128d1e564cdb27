package iam

import (
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func instanceProfileType() *account.Type {
	return &account.Type{
		Name: TypeInstanceProfile, Latency: "iam:instance-profile",
		Create: func(tx *account.Tx, r *account.Resource) error {
			name := props.Str(r.Props, "InstanceProfileName")
			if name == "" {
				name = tx.Name(r, 128)
			}
			path := pathOf(r)
			if err := checkName("instanceProfileName", name, path, 128); err != nil {
				return err
			}
			for _, o := range tx.List(TypeInstanceProfile) {
				if strings.EqualFold(o.ID, name) {
					return errorf("EntityAlreadyExists", "Instance Profile %s already exists.", name)
				}
			}
			if err := checkProfile(tx, r.Props); err != nil {
				return err
			}
			r.ID = name
			r.Attrs["Arn"] = tx.GlobalARN("iam", "instance-profile"+path+name)
			r.Data["InstanceProfileId"] = UniqueID(tx, "AIPA")
			r.Tags = props.Tags(r.Props, "Tags")
			return nil
		},
		Update: func(tx *account.Tx, _ *account.Resource, next map[string]any) error { return checkProfile(tx, next) },
	}
}

// checkProfile: an instance profile holds at most one role, which exists.
func checkProfile(tx *account.Tx, p map[string]any) error {
	roles := props.Strs(p, "Roles")
	if len(roles) > 1 {
		return errorf("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
	}
	for _, name := range roles {
		if tx.Get(TypeRole, name) == nil {
			return errorf("NoSuchEntity", "The role with name %s cannot be found.", name)
		}
	}
	return nil
}
